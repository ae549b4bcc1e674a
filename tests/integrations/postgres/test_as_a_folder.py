"""What holds for a server on a folder holds for one on PostgreSQL: the same tests, of the API, the sink, security."""

# ruff: noqa: F401

from __future__ import annotations

from tests.integrations.server.test_api import (
    test_a_batch_that_is_held_changes_nothing_and_a_gap_says_where_to_go_on,
    test_a_reader_that_does_not_read_harms_nobody,
    test_files_are_kept_under_their_digest_and_handed_out_in_ranges,
    test_late_events_of_a_process_that_is_gone_are_seen_at_once,
    test_numbers_that_json_does_not_have,
    test_only_so_many_live_streams_are_open_and_each_is_given_back,
    test_runs_by_query,
    test_the_live_stream_gives_every_event_and_ends_with_the_run,
    test_who_knows_that_there_is_a_gap_may_leave_it,
)
from tests.integrations.server.test_crash import (
    test_a_training_goes_on_while_its_server_is_killed_and_comes_back,
    test_many_clients_at_once,
    test_told_to_end_it_answers_what_it_was_asked,
)
from tests.integrations.server.test_security import (
    test_a_file_is_kept_under_no_digest_but_its_own,
    test_a_file_that_is_cut_off_leaves_nothing,
    test_a_revoked_token_is_good_no_more_at_once,
    test_every_bad_batch_is_answered_with_a_reason,
    test_every_operation_needs_the_token_that_it_needs,
    test_no_name_leads_out_of_the_folder,
    test_once_there_is_a_token_one_is_needed,
    test_what_is_nested_deep_spoils_nothing_for_others,
    test_what_is_there_is_changed_by_no_other_writer,
)
from tests.integrations.server.test_sink import (
    test_a_file_is_not_read_into_memory,
    test_a_token_that_is_not_good_is_waited_for,
    test_a_training_is_sent_and_reads_as_it_does_here,
    test_it_keeps_the_rules,
    test_it_keeps_the_rules_with_small_requests_and_a_token,
    test_only_the_wrong_lines_are_rejected,
)
