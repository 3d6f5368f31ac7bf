from harness.errors import InputError, root_cause


def test_the_first_failure_of_nested_groups_is_the_cause():
    first, second = InputError("first"), ValueError("second")

    assert root_cause(ExceptionGroup("outer", [ExceptionGroup("inner", [first, second]), second])) is first
    assert root_cause(second) is second
