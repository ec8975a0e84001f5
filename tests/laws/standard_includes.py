"""Which standard header gives which name, as far as include/ uses them.

The law `header_includes_its_standard_headers` needs it: header checks parse the standard library from
a precompiled header, so they cannot see that one is missing.
"""

# names: any of these headers gives them
_GIVEN = {
    "algorithm": "adjacent_find all_of any_of binary_search clamp copy copy_backward copy_if copy_n "
                 "count count_if equal equal_range fill fill_n find find_if find_if_not for_each "
                 "generate includes is_sorted lexicographical_compare lower_bound make_heap max "
                 "max_element merge min min_element minmax minmax_element mismatch none_of "
                 "nth_element partial_sort partition partition_point pop_heap push_heap remove_if "
                 "replace reverse rotate search set_difference sort sort_heap stable_partition "
                 "stable_sort transform unique upper_bound",
    "array": "array to_array",
    "atomic": "atomic atomic_flag atomic_ref atomic_thread_fence memory_order_acq_rel "
              "memory_order_acquire memory_order_relaxed memory_order_release",
    "bit": "bit_cast bit_ceil bit_floor bit_width countl_zero countr_one countr_zero endian "
           "has_single_bit popcount rotl rotr",
    "bitset": "bitset",
    "charconv": "chars_format from_chars from_chars_result to_chars",
    "chrono": "chrono",
    "cmath": "cbrt ceil copysign cos exp exp2 expm1 fabs floor fma fmax fmin fmod frexp hypot "
             "isfinite isinf isnan ldexp lgamma llround log log10 log1p log2 lrint lround nearbyint "
             "nextafter pow rint round signbit sin sqrt tanh trunc",
    "compare": "partial_ordering strong_ordering weak_ordering",
    "concepts": "constructible_from convertible_to copy_constructible default_initializable "
                "derived_from floating_point integral invocable move_constructible predicate regular "
                "same_as signed_integral totally_ordered unsigned_integral",
    "condition_variable": "condition_variable",
    "cstddef": "byte max_align_t nullptr_t ptrdiff_t size_t to_integer",
    "cstdint": "int16_t int32_t int64_t int8_t intptr_t uint16_t uint32_t uint64_t uint8_t uintptr_t",
    "cstdio": "FILE fclose fopen fprintf fputs fwrite printf snprintf",
    "cstdlib": "abort aligned_alloc calloc exit free getenv malloc strtod strtol strtoll strtoull",
    "cstring": "memchr memcmp memcpy memmove memset strcmp strerror strlen",
    "ctime": "strftime time time_t tm",
    "deque": "deque",
    "exception": "current_exception exception exception_ptr rethrow_exception terminate",
    "filesystem": "filesystem",
    "fstream": "fstream ifstream ofstream",
    "functional": "bind_front cref equal_to function greater hash identity invoke less "
                  "multiplies plus ref reference_wrapper",
    "future": "async future packaged_task promise",
    "initializer_list": "initializer_list",
    "iterator": "advance back_inserter distance forward_iterator_tag input_iterator_tag inserter "
                "istreambuf_iterator iterator_traits make_move_iterator make_reverse_iterator next "
                "prev random_access_iterator_tag reverse_iterator",
    "limits": "numeric_limits",
    "list": "list",
    "map": "map multimap",
    "memory": "addressof align allocator assume_aligned construct_at destroy_at "
              "enable_shared_from_this make_shared make_unique shared_ptr unique_ptr weak_ptr",
    "mutex": "call_once lock_guard mutex once_flag recursive_mutex scoped_lock unique_lock",
    "new": "align_val_t bad_alloc bad_array_new_length launder nothrow",
    "numbers": "numbers",
    "numeric": "accumulate exclusive_scan gcd inclusive_scan inner_product iota lcm midpoint "
               "partial_sum reduce transform_reduce",
    "optional": "make_optional nullopt nullopt_t optional",
    "queue": "priority_queue queue",
    "set": "multiset set",
    "shared_mutex": "shared_lock shared_mutex",
    "span": "as_bytes as_writable_bytes dynamic_extent span",
    "sstream": "istringstream ostringstream stringstream",
    "stdexcept": "invalid_argument length_error logic_error out_of_range runtime_error",
    "string": "getline stod stof stoi stol stoll stoull string to_string",
    "string_view": "string_view",
    "system_error": "error_code generic_category system_error",
    "thread": "jthread this_thread thread",
    "tuple": "apply forward_as_tuple make_tuple tie tuple tuple_cat",
    "type_traits": "bool_constant conditional_t decay_t enable_if_t false_type integral_constant "
                   "invoke_result_t is_arithmetic_v is_base_of_v is_constant_evaluated "
                   "is_convertible_v is_default_constructible_v is_empty_v is_enum_v "
                   "is_floating_point_v is_integral_v is_same is_same_v is_signed_v "
                   "is_trivially_copyable_v is_unsigned_v is_void_v make_signed_t make_unsigned_t "
                   "remove_const_t remove_cvref_t remove_reference_t true_type type_identity "
                   "underlying_type_t void_t",
    "typeinfo": "type_info",
    "unordered_map": "unordered_map unordered_multimap",
    "unordered_set": "unordered_set",
    "utility": "as_const cmp_less declval exchange forward in_place in_place_type index_sequence "
               "index_sequence_for integer_sequence make_index_sequence make_pair move pair "
               "piecewise_construct",
    "variant": "get_if holds_alternative monostate variant visit",
}
GIVEN_BY = {name: header for header, names in _GIVEN.items() for name in names.split()}
