"""What a Redis server does with one key, in Lua: the functions of `stores/row.py`, each in one step of the server's.

Of each key there are a hash, which stays, and its token, which vanishes when it expires if another one can be had for
the asking. Times of the lease and of intents are whole microseconds: Lua reckons with them exactly.

    zoom_async_auth:{key}         format, key, generation, issued_at, expires_at, cause, digest of the token,
                                  holder, leased_until, intent:<holder> = "<generation> <since>"
    zoom_async_auth:{key}:token   the token

Every script gets both names, and as arguments a number of the question, which it repeats, the key, the format, and
what is its own. It answers with the question's number, a verdict, the time, and perhaps what it found: the fields of
the hash, and the token.
"""

from dataclasses import dataclass
from hashlib import sha1
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """A script with the name under which the server keeps it."""

    text: str

    @property
    def sha(self) -> str:
        """The name."""
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_FIND: Final = """
local question, key, format = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fields = redis.call('HGETALL', KEYS[1])
local token = redis.call('GET', KEYS[2])
local found = {}
for i = 1, #fields, 2 do found[fields[i]] = fields[i + 1] end
local generation = found.generation or '0'

local function whole(number) return string.format('%.0f', number) end
local function is_whole(text) return text == nil or text:match('^%-?%d+$') ~= nil end
local function is_intent(field) return field:sub(1, 7) == 'intent:' end
local function announce() redis.pcall('PUBLISH', KEYS[1], '') end -- a hint: all is done if it fails
local function answer(verdict, why) return {question, verdict, whole(now), why} end
local function show(verdict) return {question, verdict, whole(now), fields, token} end

local function trouble()
  if #fields == 0 then return nil end
  if found.format ~= format then return 'format', found.format or '' end
  if found.key ~= key then return 'foreign' end
  if not (is_whole(generation) and is_whole(found.leased_until)) then return 'damaged' end
  if found.holder and not found.leased_until then return 'damaged' end
  if token and redis.sha1hex(token) ~= found.digest then return 'damaged' end
  for field, value in pairs(found) do
    if is_intent(field) and not value:match('^%-?%d+ %d+$') then return 'damaged' end
  end
  return nil
end
"""

_STOP_AT_TROUBLE: Final = """
local unusable, why = trouble()
if unusable then return answer(unusable, why) end
"""

PEEK: Final = Script(_FIND + _STOP_AT_TROUBLE + "return show('done')")

BEGIN: Final = Script(
    _FIND
    + _STOP_AT_TROUBLE
    + """
local expected, holder, lease, longest, supersede = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1'
if generation ~= expected then return show('refused') end
if found.holder and tonumber(found.leased_until) > now + longest then -- the clock was set back: `timely`
  redis.call('HSET', KEYS[1], 'leased_until', whole(now + longest))
end
for field, value in pairs(found) do
  local of, since = value:match('^(%-?%d+) (%d+)$')
  if is_intent(field) and tonumber(since) > now then
    found[field] = of .. ' ' .. whole(now)
    redis.call('HSET', KEYS[1], field, found[field])
  end
end
local busy = found.holder and found.holder ~= holder and tonumber(found.leased_until) > now
if busy and not supersede then return show('refused') end
local intent = 'intent:' .. holder
local of, since = (found[intent] or ''):match('^(%-?%d+) (%d+)$')
if of ~= generation then since = whole(now) end
redis.call('HSET', KEYS[1], 'format', format, 'key', key, 'holder', holder, 'leased_until', whole(now + lease),
           intent, generation .. ' ' .. since)
return show('done')
"""
)

COMMIT: Final = Script(
    _FIND
    + _STOP_AT_TROUBLE
    + """
local sent, new, issued_at, expires_at = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local payload, vanishes_at, cause = ARGV[8], ARGV[9], ARGV[10]
if generation ~= sent then return answer('refused') end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'format', format, 'key', key, 'generation', new,
           'issued_at', issued_at, 'expires_at', expires_at)
if cause then redis.call('HSET', KEYS[1], 'cause', cause) end
if payload ~= '' then
  redis.call('HSET', KEYS[1], 'digest', redis.sha1hex(payload))
  redis.call('SET', KEYS[2], payload)
  if vanishes_at ~= '' then redis.call('PEXPIREAT', KEYS[2], vanishes_at) end
end
announce()
return answer('done')
"""
)

CONDEMN: Final = Script(
    _FIND
    + _STOP_AT_TROUBLE
    + """
local expected, cause = ARGV[4], ARGV[5]
if not found.issued_at or generation ~= expected then return answer('refused') end
redis.call('HSET', KEYS[1], 'cause', cause)
redis.call('HDEL', KEYS[1], 'holder', 'leased_until')
for field in pairs(found) do
  if is_intent(field) then redis.call('HDEL', KEYS[1], field) end
end
announce()
return answer('done')
"""
)

RELEASE: Final = Script(
    _FIND
    + """
local holder, doubt = ARGV[4], ARGV[5] == '1'
if not doubt then redis.call('HDEL', KEYS[1], 'intent:' .. holder) end
if found.holder == holder then redis.call('HDEL', KEYS[1], 'holder', 'leased_until') end
if found.format == format and not found.issued_at and redis.call('HLEN', KEYS[1]) == 2 then
  redis.call('DEL', KEYS[1]) -- nothing was ever kept: format and key are all that is left
end
announce()
return answer('done')
"""
)

# What is of another type is somebody else's, and stops all but this: whoever forgets a key wants it to be usable again.
FORGET: Final = Script(
    """
for name, kind in pairs({[KEYS[1]] = 'hash', [KEYS[2]] = 'string'}) do
  local is = redis.call('TYPE', name).ok
  if is ~= kind and is ~= 'none' then redis.call('DEL', name) end
end
"""
    + _FIND
    + """
if not is_whole(generation) then return answer('uncountable') end
redis.call('HINCRBY', KEYS[1], 'generation', 1)
local new = redis.call('HGET', KEYS[1], 'generation')
local at = string.format('%.6f', now / 1000000)
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'format', format, 'key', key, 'generation', new, 'issued_at', at, 'expires_at', at)
announce()
return answer('done')
"""
)
