#include "CSimdJSON.h"

#include <cstring>
#include <exception>
#include <simdjson.h>
#include <utility>
#include <vector>

using namespace simdjson;

namespace {

// What a thread keeps from one document to the next.
constexpr size_t maximum_bytes = 1 << 20;
constexpr int maximum_depth = 512;

struct Reader {
    ondemand::parser parser{maximum_bytes};
    std::vector<char> padded;
    std::vector<millrace_json_event> events;

    void add(millrace_json_kind kind, std::string_view text = {}, int64_t number = 0) {
        events.push_back({text.data(), number, static_cast<uint32_t>(text.size()), kind});
    }

    error_code read_object(ondemand::object object, int depth) {
        add(millrace_json_object);
        for (auto item : object) {
            ondemand::field field;
            if (auto error = std::move(item).get(field)) return error;
            std::string_view key;
            if (auto error = field.unescaped_key().get(key)) return error;
            add(millrace_json_key, key);
            if (auto error = read(field.value(), depth)) return error;
        }
        add(millrace_json_object_end);
        return SUCCESS;
    }

    error_code read_array(ondemand::array array, int depth) {
        add(millrace_json_array);
        for (auto item : array) {
            ondemand::value value;
            if (auto error = std::move(item).get(value)) return error;
            if (auto error = read(value, depth)) return error;
        }
        add(millrace_json_array_end);
        return SUCCESS;
    }

    error_code read(ondemand::value value, int depth) {
        if (depth >= maximum_depth) return DEPTH_ERROR;
        ondemand::json_type type;
        if (auto error = value.type().get(type)) return error;
        switch (type) {
        case ondemand::json_type::object: {
            ondemand::object object;
            if (auto error = value.get_object().get(object)) return error;
            return read_object(object, depth + 1);
        }
        case ondemand::json_type::array: {
            ondemand::array array;
            if (auto error = value.get_array().get(array)) return error;
            return read_array(array, depth + 1);
        }
        case ondemand::json_type::string: {
            std::string_view text;
            if (auto error = value.get_string().get(text)) return error;
            add(millrace_json_string, text);
            return SUCCESS;
        }
        case ondemand::json_type::number: {
            // What is no 64-bit integer, and a zero with a sign, is for the caller.
            std::string_view token = value.raw_json_token();
            while (!token.empty() && strchr(" \t\r\n", token.back())) token.remove_suffix(1);
            int64_t number;
            if (token != "-0" && value.get_int64().get(number) == SUCCESS) {
                add(millrace_json_integer, {}, number);
                return SUCCESS;
            }
            add(millrace_json_number, token);
            double checked;
            return value.get_double().get(checked);
        }
        case ondemand::json_type::boolean: {
            bool flag;
            if (auto error = value.get_bool().get(flag)) return error;
            add(flag ? millrace_json_true : millrace_json_false);
            return SUCCESS;
        }
        case ondemand::json_type::null:
            if (!value.is_null()) return N_ATOM_ERROR;
            add(millrace_json_null);
            return SUCCESS;
        }
        return INCORRECT_TYPE;
    }

    bool parse(const uint8_t *bytes, size_t length) {
        events.clear();
        if (padded.size() < length + SIMDJSON_PADDING) padded.resize(length + SIMDJSON_PADDING);
        memcpy(padded.data(), bytes, length);
        memset(padded.data() + length, 0, SIMDJSON_PADDING);
        ondemand::document document;
        if (parser.iterate(padded.data(), length, padded.size()).get(document)) return false;
        ondemand::json_type type;
        if (document.type().get(type)) return false;
        error_code error = INCORRECT_TYPE;
        if (type == ondemand::json_type::object) {
            ondemand::object object;
            error = document.get_object().get(object);
            if (!error) error = read_object(object, 1);
        } else if (type == ondemand::json_type::array) {
            ondemand::array array;
            error = document.get_array().get(array);
            if (!error) error = read_array(array, 1);
        }
        // Nothing may follow.
        return !error && document.current_location().error() == OUT_OF_BOUNDS;
    }
};

}  // namespace

const millrace_json_event *millrace_json_parse(const uint8_t *bytes, size_t length, size_t *count) {
    *count = 0;
    if (bytes == nullptr || length == 0 || length > maximum_bytes) return nullptr;
    try {
        thread_local Reader reader;
        if (!reader.parse(bytes, length)) return nullptr;
        *count = reader.events.size();
        return reader.events.data();
    } catch (const std::exception &) {
        // Out of memory: the caller has another way.
        return nullptr;
    }
}
