/* gateway/http/reason.c — each rule of HTTP/1.1 that a message can break, in a sentence. */
#include "gateway/http/reason.h"

const struct reason HTTP_BARE_LF = {"http_bare_lf", "a line ends with LF alone"};
const struct reason HTTP_BARE_CR = {"http_bare_cr", "a CR is not followed by LF"};
const struct reason HTTP_BLANK_LINES = {"http_blank_lines", "more than one empty line comes before the start line"};
const struct reason HTTP_START_LINE_BAD = {"http_start_line_bad", "the start line has the wrong parts"};
const struct reason HTTP_METHOD_BAD = {"http_method_bad", "the method is not a token, or is too long"};
const struct reason HTTP_VERSION_BAD = {"http_version_bad", "the version is not HTTP/ and two digits"};
const struct reason HTTP_STATUS_BAD = {"http_status_bad", "the status is not three digits from 100 to 599"};
const struct reason HTTP_FIELD_FOLDED = {"http_field_folded", "a field value is folded over several lines"};
const struct reason HTTP_FIELD_INDENTED = {"http_field_indented", "a blank comes before the first field name"};
const struct reason HTTP_FIELD_NAME_EMPTY = {"http_field_name_empty", "a field has no name"};
const struct reason HTTP_FIELD_NAME_BAD = {"http_field_name_bad", "a field name is not a token"};
const struct reason HTTP_FIELD_NAME_SPACE = {"http_field_name_space", "a blank stands between a field name and its colon"};
const struct reason HTTP_FIELD_COLON_MISSING = {"http_field_colon_missing", "a field line has no colon"};
const struct reason HTTP_FIELD_VALUE_BAD = {"http_field_value_bad", "a field value contains a control character"};
const struct reason HTTP_HEAD_CUT = {"http_head_cut", "the connection ended within a message head"};
const struct reason HTTP_HEAD_REFUSED = {"http_head_refused", "the head is not well-formed HTTP/1.1"};

const struct reason HTTP_TARGET_BAD = {"http_target_bad", "the request target is neither a path nor a URI, or has a bad character"};
const struct reason HTTP_TARGET_FRAGMENT = {"http_target_fragment", "the request target has a fragment"};
const struct reason HTTP_TARGET_SCHEME = {"http_target_scheme", "the scheme of the request target is not http or https"};
const struct reason HTTP_TARGET_ASTERISK = {"http_target_asterisk", "the target * is for OPTIONS alone"};
const struct reason HTTP_PATH_ESCAPE_BAD = {"http_path_escape_bad", "a percent sign in the path is not followed by two hex digits"};
const struct reason HTTP_PATH_CONTROL = {"http_path_control", "the path has an escaped control character"};
const struct reason HTTP_PATH_SLASH_ENCODED = {"http_path_slash_encoded", "the path has an escaped slash or backslash"};
const struct reason HTTP_PATH_BACKSLASH = {"http_path_backslash", "the path has a backslash"};
const struct reason HTTP_PATH_ABOVE_ROOT = {"http_path_above_root", "the path leads above the root"};
const struct reason HTTP_PATH_DOT_PARAMETER = {"http_path_dot_parameter", "a dot segment of the path has a parameter"};
const struct reason HTTP_HOST_MISSING = {"http_host_missing", "an HTTP/1.1 request has no Host field"};
const struct reason HTTP_HOST_SEVERAL = {"http_host_several", "the request has more than one Host field"};
const struct reason HTTP_HOST_BAD = {"http_host_bad", "the host is not a host name with an optional port"};

const struct reason HTTP_FRAMING_AMBIGUOUS = {"http_framing_ambiguous", "Content-Length and Transfer-Encoding come together"};
const struct reason HTTP_LENGTH_SEVERAL = {"http_length_several", "more than one Content-Length"};
const struct reason HTTP_LENGTH_BAD = {"http_length_bad", "Content-Length is not a plain decimal number"};
const struct reason HTTP_LENGTH_MISPLACED = {"http_length_misplaced", "Content-Length in an answer that cannot have one"};
const struct reason HTTP_TRANSFER_SEVERAL = {"http_transfer_several", "more than one Transfer-Encoding"};
const struct reason HTTP_TRANSFER_BAD = {"http_transfer_bad", "Transfer-Encoding is not chunked alone"};
const struct reason HTTP_TRANSFER_IN_1_0 = {"http_transfer_in_1_0", "Transfer-Encoding in an HTTP/1.0 message"};
const struct reason HTTP_TRANSFER_MISPLACED = {"http_transfer_misplaced", "Transfer-Encoding in an answer that cannot have one"};
const struct reason HTTP_CONNECTION_LONG = {"http_connection_long", "Connection lists too many options"};
const struct reason HTTP_UPGRADE_UNASKED = {"http_upgrade_unasked", "the protocol was switched without being asked to, or without saying to what"};

const struct reason HTTP_CHUNK_SIZE_BAD = {"http_chunk_size_bad", "a chunk size is not a plain hex number"};
const struct reason HTTP_CHUNK_SIZE_OVERFLOW = {"http_chunk_size_overflow", "a chunk size has too many digits"};
const struct reason HTTP_CHUNK_EXTENSION_BAD = {"http_chunk_extension_bad", "a chunk extension is not well-formed"};
const struct reason HTTP_CHUNK_EXTENSION_LONG = {"http_chunk_extension_long", "a chunk's size line is too long"};
const struct reason HTTP_CHUNK_WASTEFUL = {"http_chunk_wasteful", "the chunks carry far more framing than payload"};
const struct reason HTTP_CHUNK_END_MISSING = {"http_chunk_end_missing", "a chunk's payload is not followed by CRLF"};
const struct reason HTTP_TRAILER_LARGE = {"http_trailer_large", "the trailer has too many fields or bytes"};
const struct reason HTTP_BODY_CUT = {"http_body_cut", "the connection ended within a message body"};
const struct reason HTTP_BODY_SHORT = {"http_body_short", "the body is shorter than its Content-Length"};
const struct reason HTTP_BODY_LONG = {"http_body_long", "the body is longer than its Content-Length"};

const struct reason HTTP_HEAD_TOO_LARGE = {"http_head_too_large", "the message head is larger than head_bytes_max"};
const struct reason HTTP_FIELDS_TOO_MANY = {"http_fields_too_many", "the message has more fields than fields_max"};
const struct reason HTTP_TARGET_TOO_LONG = {"http_target_too_long", "the request target is longer than uri_bytes_max"};
const struct reason HTTP_BODY_TOO_LARGE = {"http_body_too_large", "the message body is larger than body_bytes_max"};
const struct reason HTTP_EXPECT_UNKNOWN = {"http_expect_unknown", "the request expects something other than 100-continue"};
const struct reason HTTP_METHOD_UNKNOWN = {"http_method_unknown", "the method is not known"};
const struct reason HTTP_CONNECT_UNSERVED = {"http_connect_unserved", "CONNECT is not served"};
const struct reason HTTP_VERSION_UNSERVED = {"http_version_unserved", "the HTTP version is not served"};

const struct reason HTTP_FORM_ESCAPE_BAD = {"http_form_escape_bad", "a percent sign in the form is not followed by two hex digits"};
const struct reason HTTP_FORM_NUL = {"http_form_nul", "the form has an escaped zero byte"};
const struct reason HTTP_FORM_NAME_SEVERAL = {"http_form_name_several", "the form has the same name more than once"};
