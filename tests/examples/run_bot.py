"""Run a bot, as it is, with the Discord at an address of one's own: run_bot.py ADDRESS PROGRAM."""

import runpy
import sys

import discord.gateway
import discord.http
from yarl import URL

address, program = sys.argv[1:]
discord.http.Route.BASE = address
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = URL(address)
runpy.run_path(program, run_name="__main__")
