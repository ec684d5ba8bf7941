"""The rows of the matrix: each is proven by a test.

Many rows have several tests; the list names one, the file beside it has the others. `test_rows.py` keeps it honest.
"""

ROWS: dict[str, str] = {
    "S1": (
        "tests/faults/test_requests.py::"
        "test_s01_a_redirect_that_would_send_the_form_on_is_a_typed_error_and_no_second_request"
    ),
    "S2": "tests/faults/test_requests.py::test_s02_any_other_redirect_is_not_followed_and_its_body_not_parsed",
    "S3": "tests/faults/test_requests.py::test_s03_a_session_that_is_redirected_to_another_origin_drops_the_bearer",
    "S4": "tests/faults/test_requests.py::test_s04_nothing_that_a_server_or_a_proxy_sets_is_sent_on",
    "S5": "tests/faults/test_shown.py::test_s05_no_object_shows_a_secret_and_none_that_holds_one_is_pickled",
    "S6": "tests/faults/test_shown.py::test_s06_no_failure_leads_to_an_exception_of_aiohttp_or_shows_a_secret",
    "S7": "tests/faults/test_shown.py::test_s07_no_log_at_its_most_talkative_shows_a_secret",
    "S8": "tests/faults/test_shown.py::test_s08_a_task_that_dies_unobserved_gives_a_clean_text",
    "S9": "tests/faults/test_shown.py::test_s09_an_echoed_refresh_token_is_not_shown",
    "S10": "tests/faults/test_reading.py::test_s10_s11_a_body_that_is_too_large_is_cut_and_the_next_try_brings_a_token",
    "S11": "tests/faults/test_reading.py::test_s10_s11_a_body_that_is_too_large_is_cut_and_the_next_try_brings_a_token",
    "S12": "tests/faults/test_reading.py::test_s12_a_proxy_and_a_netrc_of_the_environment_are_ignored",
    "S13": "tests/faults/test_reading.py::test_s13_nothing_of_the_callers_session_gets_into_a_token_request",
    "S14": "tests/faults/test_reading.py::test_s14_control_characters_are_refused_at_construction",
    "S15": "tests/faults/test_reading.py::test_s15_an_access_token_that_cannot_be_one_is_not_cached",
    "S16": "tests/faults/test_reading.py::test_s16_a_token_type_is_refused_or_accepted",
    "S17": "tests/faults/test_reading.py::test_s17_http_is_refused",
    "S18": "tests/faults/test_reading.py::test_s18_a_certificate_that_does_not_verify_fails_closed",
    "S19": "tests/faults/test_reading.py::test_s19_a_secret_is_sent_as_it_is",
    "S20": "tests/faults/test_reading.py::test_s20_no_request_has_a_secret_in_its_url",
    "S21": "tests/faults/test_reading.py::test_s21_an_invalid_client_costs_exactly_one_post_and_no_probing_of_styles",
    "S22": "tests/faults/test_authorization.py::test_s22_a_callback_without_the_state_of_this_browser_is_refused",
    "S23": "tests/faults/test_authorization.py::test_s23_pkce_is_s256_with_a_fresh_verifier_of_43_characters_each_time",
    "S24": "tests/integrations/test_connect.py::test_s24_the_same_callback_twice_at_once_costs_one_exchange",
    "S25": (
        "tests/faults/test_authorization.py::test_s25_a_callback_that_can_be_read_in_two_ways_or_is_too_long_is_refused"
    ),
    "S26": "tests/faults/test_authorization.py::test_s26_a_callback_of_another_issuer_is_refused",
    "S27": "tests/faults/test_authorization.py::test_s27_a_redirect_uri_that_differs_in_case_or_slash_is_refused",
    "S28": "tests/cli/test_receiver.py::test_whatever_else_comes_is_turned_away_and_ends_nothing",
    "S29": "tests/engine/test_device.py::test_each_slow_down_makes_the_interval_five_seconds_longer_for_good",
    "S30": (
        "tests/faults/test_authorization.py::test_s30_a_revocation_that_fails_changes_nothing_and_may_be_tried_again"
    ),
    "S31": "tests/faults/test_authorization.py::test_s31_a_revocation_during_a_renewal_leaves_no_token_alive",
    "S32": "tests/stores/test_sqlite.py::test_s32_the_file_and_what_lies_beside_it_are_the_users_alone",
    "S33": "tests/stores/test_sqlite.py::test_s33_what_is_no_file_of_ours_is_refused_and_its_target_untouched",
    "S34": "tests/stores/test_sqlite.py::test_s34_a_folder_that_others_may_write_to_is_refused",
    "S35": "tests/stores/test_encrypted.py::test_s35_a_ciphertext_that_was_copied_to_another_identity_does_not_open",
    "S36": "tests/engine/test_went_back.py::test_an_older_row_is_noticed_and_the_newer_token_put_back",
    "S37": "tests/stores/test_encrypted.py::test_s37_an_old_key_is_replaced_by_the_first_one",
    "S38": "tests/faults/test_stored.py::test_s38_no_two_apps_share_a_namespace",
    "S39": "tests/stores/test_sql.py::test_s39_a_thousand_cancelled_calls_never_bring_the_value_of_another_key",
    "S40": "tests/faults/test_pool.py::test_s40_whatever_happens_nobody_gets_the_token_of_another",
    "S41": "tests/faults/test_everything_else.py::test_s41_a_bearer_goes_to_the_allowed_hosts_on_443_and_nowhere_else",
    "S42": "tests/faults/test_shown.py::test_s42_an_error_with_line_breaks_and_escape_sequences_is_one_line",
    "S43": "tests/faults/test_everything_else.py::test_s43_a_state_and_a_token_are_compared_in_constant_time",
    "S44": "tests/faults/test_everything_else.py::test_s44_claims_of_an_access_token_are_never_trusted",
    "S45": "tests/faults/test_everything_else.py::test_s45_odd_json_is_a_malformed_response",
    "S46": "tests/integrations/test_monitoring.py::test_a_hundred_identities_make_no_more_series_than_one",
    "S47": (
        "tests/faults/test_shown.py::test_s47_two_commands_start_a_process_and_no_secret_is_taken_from_the_command_line"
    ),
    "S48": "tests/faults/test_shown.py::test_s48_an_answer_without_a_required_field_is_told_by_its_names_alone",
    "S49": "tests/stores/test_encrypted.py::test_s49_a_dump_of_the_store_shows_no_token",
    "F1": "tests/faults/test_answers.py::test_f01_a_server_in_trouble_leaves_a_refresh_in_doubt_and_the_next_try_heals",
    "F2": "tests/faults/test_answers.py::test_f02_no_request_of_the_client_id_is_sent_before_retry_after",
    "F3": "tests/faults/test_answers.py::test_f03_retry_after_as_a_date_counts_from_the_date_of_the_answer",
    "F4": "tests/faults/test_answers.py::test_f04_a_bare_429_is_backed_off_from_with_full_jitter",
    "F5": "tests/faults/test_answers.py::test_f05_a_retry_after_out_of_range_is_clamped_or_ignored",
    "F6": "tests/faults/test_answers.py::test_f06_a_timeout_of_the_server_is_transient_and_never_a_new_authorization",
    "F7": "tests/faults/test_answers.py::test_f07_the_page_of_a_captive_portal_is_not_cached",
    "F8": "tests/faults/test_answers.py::test_f08_a_200_with_an_error_is_treated_as_that_error",
    "F9": (
        "tests/faults/test_answers.py::"
        "test_f09_half_an_answer_leaves_it_in_doubt_and_the_same_refresh_token_is_tried_again"
    ),
    "F10": "tests/faults/test_answers.py::test_f10_valid_json_of_another_content_type_is_accepted",
    "F11": "tests/faults/test_answers.py::test_f11_an_empty_answer_leaves_a_refresh_in_doubt",
    "F12": "tests/faults/test_answers.py::test_f12_a_refused_refresh_token_is_dead_if_the_store_says_nothing_else",
    "F13": "tests/faults/test_answers.py::test_f13_an_invalid_grant_is_told_by_its_code_and_not_by_its_status",
    "F14": (
        "tests/faults/test_answers.py::test_f14_a_refused_client_is_probed_every_half_hour_and_its_refresh_token_kept"
    ),
    "F15": "tests/faults/test_answers.py::test_f15_an_unknown_refusal_is_backed_off_from_and_the_refresh_token_kept",
    "F16": "tests/faults/test_answers.py::test_f16_a_wrong_address_is_a_misconfiguration_and_no_storm",
    "F17": "tests/faults/test_answers.py::test_f17_a_missing_lifetime_is_taken_for_ten_minutes_and_told",
    "F18": "tests/faults/test_answers.py::test_f18_a_lifetime_as_text_or_with_a_fraction_is_accepted",
    "F19": "tests/faults/test_answers.py::test_f19_a_lifetime_that_is_none_is_refused",
    "F20": "tests/faults/test_answers.py::test_f20_tokens_that_arrive_nearly_expired_are_not_renewed_in_a_loop",
    "F21": "tests/faults/test_answers.py::test_f21_an_omitted_refresh_token_leaves_the_old_one_in_use",
    "F22": "tests/faults/test_answers.py::test_f22_a_scope_that_shrank_is_accepted_and_told",
    "F23": "tests/faults/test_network.py::test_f23_a_name_that_is_gone_for_107_minutes_is_back_within_one",
    "F24": "tests/faults/test_network.py::test_f24_a_refused_connection_leaves_no_intent_so_that_the_retry_is_free",
    "F25": (
        "tests/faults/test_network.py::test_f25_a_certificate_that_is_not_trusted_has_its_own_error_and_a_slow_retry"
    ),
    "F26": "tests/faults/test_network.py::test_f26_a_proxy_in_trouble_never_kills_a_grant",
    "F27": "tests/faults/test_network.py::test_f27_a_connection_that_is_reset_before_anything_was_read_is_tried_again",
    "F28": "tests/faults/test_network.py::test_f28_a_lost_answer_is_followed_by_the_same_refresh_token",
    "F29": "tests/faults/test_network.py::test_f29_a_reset_in_the_body_leaves_it_in_doubt",
    "F30": (
        "tests/faults/test_network.py::test_f30_an_answer_of_one_byte_per_second_ends_at_the_deadline_of_the_attempt"
    ),
    "F31": (
        "tests/faults/test_network.py::test_f31_an_endpoint_that_accepts_and_then_hangs_is_left_at_the_same_deadline"
    ),
    "F32": "tests/faults/test_network.py::test_f32_no_connection_is_used_twice_so_that_none_can_be_dead",
    "F33": "tests/faults/test_network.py::test_f33_api_calls_that_use_up_their_connections_do_not_hold_a_renewal_back",
    "F34": "tests/faults/test_network.py::test_f34_a_black_hole_ends_at_the_deadline_for_connecting",
    "F35": "tests/faults/test_time.py::test_f35_a_stepped_wall_clock_moves_no_renewal",
    "F36": "tests/faults/test_time.py::test_f36_a_token_that_expired_during_a_suspend_is_not_handed_out",
    "F37": "tests/faults/test_time.py::test_f37_hosts_ten_minutes_apart_agree_by_the_clock_of_the_store",
    "F38": "tests/faults/test_time.py::test_f38_a_loop_that_stalled_for_ninety_seconds_looks_again_and_sends_no_burst",
    "F39": "tests/faults/test_life.py::test_f39_a_caller_cancelled_at_any_await_of_an_authorization_loses_no_token",
    "F40": "tests/faults/test_life.py::test_f40_a_flight_that_all_have_left_still_lands",
    "F41": "tests/faults/test_life.py::test_f41_a_waiter_that_loses_patience_does_not_touch_the_others",
    "F42": "tests/faults/test_life.py::test_f42_a_caller_cancelled_during_commit_or_release_stops_neither",
    "F43": (
        "tests/faults/test_life.py::"
        "test_f43_an_end_of_the_loop_without_aclose_leaves_an_intent_that_the_next_start_resolves"
    ),
    "F44": "tests/faults/test_life.py::test_f44_closing_lets_a_request_on_the_wire_land_within_its_bound",
    "F45": "tests/faults/test_life.py::test_f45_an_interrupt_comes_out_as_itself_after_the_end_of_the_block",
    "F46": "tests/faults/test_life.py::test_f46_garbage_collection_takes_no_flight_away",
    "F47": "tests/engine/test_renewal.py::test_a_bug_in_the_scheduler_restarts_it_and_callers_renew_inline",
    "F48": "tests/faults/test_life.py::test_f48_another_loop_gets_a_clear_error_off_the_hot_path_and_never_a_hang",
    "F49": "tests/test_process.py::test_a_forked_child_gets_a_clear_error_off_the_hot_path",
    "F50": "tests/faults/test_life.py::test_f50_another_thread_gets_a_typed_error_off_the_hot_path",
    "F51": "tests/processes/test_kill.py::test_f51_the_next_process_goes_on_whenever_that_is_possible",
    "F52": "tests/faults/test_life.py::test_f52_an_answer_that_breaks_the_reader_is_an_error_and_the_next_call_works",
    "F53": "tests/faults/test_life.py::test_f53_ten_thousand_cold_callers_cost_one_request",
    "F54": "tests/faults/test_life.py::test_f54_a_shared_failure_reaches_each_waiter_as_an_exception_of_its_own",
    "F55": "tests/faults/test_life.py::test_f55_an_observer_that_raises_is_logged_once_and_isolated",
    "F56": "tests/faults/test_store.py::test_f56_with_the_store_down_an_app_mints_and_a_person_spends_nothing",
    "F57": "tests/faults/test_store.py::test_f57_a_commit_that_fails_for_ten_minutes_loses_nothing",
    "F58": "tests/faults/test_store.py::test_f58_a_store_that_takes_thirty_seconds_is_given_up_after_five",
    "F59": "tests/stores/test_sql.py::test_f59_a_row_that_cannot_be_read_is_never_overwritten",
    "F60": "tests/stores/test_sqlite.py::test_f60_a_write_that_fails_leaves_the_old_record",
    "F61": "tests/stores/test_sql.py::test_f61_a_kill_around_a_commit_leaves_one_whole_record",
    "F62": "tests/faults/test_store.py::test_f62_a_store_that_cannot_be_written_is_found_before_the_exchange",
    "F63": (
        "tests/faults/test_store.py::test_f63_the_lease_of_a_dead_holder_is_taken_over_after_its_time_with_its_intent"
    ),
    "F64": "tests/faults/test_store.py::test_f64_a_late_winner_is_accepted_and_the_other_ones_refusal_not_latched",
    "F65": "tests/faults/test_store.py::test_f65_a_release_after_its_end_does_not_touch_the_next_holders_lease",
    "F66": (
        "tests/faults/test_store.py::test_f66_a_lease_that_was_being_acquired_at_the_end_is_no_orphan_beyond_its_time"
    ),
    "F67": "tests/faults/test_store.py::test_f67_a_lease_that_is_busy_for_too_long_makes_an_app_mint_and_a_person_fail",
    "F68": "tests/faults/test_store.py::test_f68_a_lease_covers_an_attempt_and_its_commit_and_cannot_be_set",
    "F69": "tests/stores/test_redis.py::test_f69_a_lost_lease_and_the_first_to_begin_is_the_first_to_commit",
    "F70": "tests/stores/test_redis.py::test_f70_a_write_that_was_lost_is_put_back_while_anybody_knows_it",
    "F71": "tests/faults/test_store.py::test_f71_a_partition_right_after_the_exchange_loses_nothing",
    "F72": "tests/stores/test_postgres.py::test_f72_behind_pgbouncer_a_store_keeps_its_promises",
    "F73": (
        "tests/faults/test_store.py::"
        "test_f73_a_replica_that_lags_behind_costs_no_request_because_the_generation_is_checked"
    ),
    "F74": "tests/faults/test_store.py::test_f74_a_reauthorization_during_a_renewal_outranks_the_late_token",
    "F75": ("tests/faults/test_pool.py::test_f75_all_have_expired_at_once_and_the_rate_holds_and_who_waits_goes_first"),
    "F76": "tests/faults/test_scale.py::test_f76_fifty_workers_that_restart_look_into_the_store_first",
    "F77": (
        "tests/faults/test_scale.py::"
        "test_f77_a_dead_refresh_token_costs_one_request_and_then_none_until_the_generation_moves"
    ),
    "F78": "tests/faults/test_pool.py::test_f78_nobody_waits_behind_one_whose_answer_does_not_come",
    "F79": "tests/faults/test_scale.py::test_f79_a_thousand_reports_of_one_token_cost_one_renewal",
    "F80": (
        "tests/faults/test_scale.py::test_f80_fresh_tokens_that_are_rejected_are_renewed_once_per_floor_which_doubles"
    ),
    "F81": "tests/faults/test_scale.py::test_f81_a_rejected_token_is_looked_for_in_the_store_before_zoom_is_asked",
    "F82": "tests/faults/test_pool.py::test_f82_an_identity_that_is_idle_for_ninety_days_is_kept_alive",
}
