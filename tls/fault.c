/* See tls/fault.h. */
#include "tls/fault.h"

#include <stdarg.h>
#include <stdio.h>

bool tls_fault_say(struct tls_fault *fault, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(fault->sentence, sizeof fault->sentence, format, arguments);
	va_end(arguments);
	return false;
}

void tls_fault_warn(struct tls_fault *fault, const char *format, ...)
{
	va_list arguments;

	if (fault->warning_count == TLS_WARNINGS_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(fault->warnings[fault->warning_count++], TLS_SENTENCE_BYTES, format, arguments);
	va_end(arguments);
}
