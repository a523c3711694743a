/* Every reason has a verdict that can be acted upon, and every verdict can be told in JSON, in metrics and on a WebSocket. */
#include "gateway/verdict.c"
#include "gateway/http/message.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <signal.h>
#include <string.h>

/* RFC 6455 §7.4.1, §7.4.2: 1004, 1005, 1006 and 1015 are never sent; 1006 may stand for "no Close came" in a log. */
static bool close_code_is_legal(unsigned code)
{
	return code == 0 || (code >= 1000 && code <= 1003) || (code >= 1006 && code <= 1014);
}

static bool is_graphic(const char *text)
{
	for (; *text; text++)
		if (*text == '"' || *text == '\\' || (unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
			return false;
	return true;
}

Test(gateway_verdict, every_status_is_an_error_or_none)
{
	for (unsigned i = 0; i < verdict_count(); i++) {
		const struct verdict *v = verdict_at(i);

		cr_assert(v->status == 0 || (v->status >= 400 && v->status <= 599), "%s: %u", v->reason->name, v->status);
		/* The answer is written with a body; these have none. */
		cr_assert(v->status == 0 || !http_status_bodyless(v->status), "%s", v->reason->name);
		/* A status that has no phrase of its own would go out as a bare number. */
		cr_assert(v->status == 0 || http_phrase_of(v->status).size > 0, "%s: %u", v->reason->name, v->status);
	}
}

Test(gateway_verdict, every_close_code_may_be_sent)
{
	for (unsigned i = 0; i < verdict_count(); i++) {
		const struct verdict *v = verdict_at(i);

		cr_assert(close_code_is_legal(v->close_code), "%s: %u", v->reason->name, v->close_code);
		/* "1006 is a reserved value and MUST NOT be set as a status code in a Close control frame by an endpoint." */
		cr_assert(v->close_code != 1006 || v->reason == &WS_ENDED_WITHOUT_CLOSE, "%s", v->reason->name);
	}
}

Test(gateway_verdict, every_level_is_one_of_the_configuration)
{
	for (unsigned i = 0; i < verdict_count(); i++)
		cr_assert_not_null(config_log_level_word(verdict_at(i)->level), "%s", verdict_at(i)->reason->name);
}

Test(gateway_verdict, no_name_is_used_twice)
{
	for (unsigned i = 0; i < verdict_count(); i++)
		for (unsigned k = i + 1; k < verdict_count(); k++) {
			cr_assert_str_neq(verdict_at(i)->reason->name, verdict_at(k)->reason->name);
			cr_assert_neq(verdict_at(i)->reason, verdict_at(k)->reason, "%s stands twice", verdict_at(i)->reason->name);
		}
}

Test(gateway_verdict, names_are_words_that_a_metric_may_carry)
{
	for (unsigned i = 0; i < verdict_count(); i++) {
		const char *name = verdict_at(i)->reason->name;

		cr_assert(islower((unsigned char)name[0]), "%s", name);
		for (const char *at = name; *at; at++)
			cr_assert(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '_', "%s", name);
	}
}

/* exchange.c writes them between quotes as they are. */
Test(gateway_verdict, names_and_sentences_need_no_escape_in_json)
{
	for (unsigned i = 0; i < verdict_count(); i++) {
		const struct reason *reason = verdict_at(i)->reason;

		cr_assert(is_graphic(reason->name) && is_graphic(reason->sentence), "%s: %s", reason->name, reason->sentence);
		cr_assert(strlen(reason->sentence) > 0);
	}
	for (unsigned alert = 0; alert < 256; alert++) {
		const struct reason *reason = tls_alert_reason((uint8_t)alert);

		cr_assert(is_graphic(reason->name) && is_graphic(reason->sentence), "%s: %s", reason->name, reason->sentence);
	}
}

Test(gateway_verdict, a_reason_is_found_where_it_stands)
{
	for (unsigned i = 0; i < verdict_count(); i++) {
		cr_assert_eq(verdict_index(verdict_at(i)->reason), i);
		cr_assert_eq(verdict_of(verdict_at(i)->reason), verdict_at(i));
	}
}

Test(gateway_verdict, an_unknown_reason_is_our_own_mistake)
{
	static const struct reason STRANGE = { "strange", "nobody has thought of this" };
	/* Reasons are compared by address: the same name elsewhere is another reason. */
	static const struct reason COPY = { "route_none", "no route leads anywhere for this path and host" };
	const struct reason *unknown[] = { NULL, &STRANGE, &COPY };

	for (unsigned i = 0; i < array_count(unknown); i++) {
		const struct verdict *v = verdict_of(unknown[i]);

		cr_assert_str_eq(v->reason->name, "internal_error");
		cr_assert_eq(v->status, 500);
		cr_assert_eq(v->close_code, 1011);
		cr_assert_eq(v->level, CONFIG_LOG_ERROR);
		cr_assert_eq(verdict_index(unknown[i]), verdict_count() - 1);
	}
}

Test(gateway_verdict, every_alert_of_the_client_is_one_verdict)
{
	for (unsigned alert = 0; alert < 256; alert++) {
		const struct verdict *v = verdict_of(tls_alert_reason((uint8_t)alert));

		cr_assert_str_eq(v->reason->name, "tls_alert_received", "alert %u: %s", alert, v->reason->name);
		cr_assert_eq(v->status, 0);
	}
}

Test(gateway_verdict, an_index_beyond_the_last_ends_the_process, .signal = SIGABRT)
{
	verdict_at(verdict_count());
}
