#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// One part of a JSON document, in its order.
typedef enum __attribute__((enum_extensibility(closed))) : uint8_t {
    millrace_json_null,
    millrace_json_false,
    millrace_json_true,
    /// `number`.
    millrace_json_integer,
    /// `text`: a number that is no 64-bit signed integer, as it stands, not checked.
    millrace_json_number,
    /// `text`: UTF-8, without escapes.
    millrace_json_string,
    /// `text`: the name of the member that follows.
    millrace_json_key,
    millrace_json_object,
    millrace_json_object_end,
    millrace_json_array,
    millrace_json_array_end,
} millrace_json_kind;

typedef struct {
    const char *_Nullable text;
    int64_t number;
    uint32_t length;
    millrace_json_kind kind;
} millrace_json_event;

/// The parts of a document that is an object or an array; NULL where it is none that can be read: it may be broken, or
/// larger or deeper than this takes. What is returned lives until the next call of the same thread.
const millrace_json_event *_Nullable millrace_json_parse(
    const uint8_t *_Nullable bytes, size_t length, size_t *_Nonnull count);

#ifdef __cplusplus
}
#endif
