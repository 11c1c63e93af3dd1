"""Conversion of tables and sequences through duck typing, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.array.errors import DataError
from chainrule.data.sources import as_array, check_reiterable, is_arrays, open_pass, place, unpack


class Frame:
    """Behaves like a pandas DataFrame: ``__array__``, ``to_numpy``, ``columns``."""

    def __init__(self, **columns):
        self.columns = list(columns)
        self.values = list(columns.values())

    def __array__(self, dtype=None, copy=None):
        plain = {type(v) for column in self.values for v in column} <= {int, float}
        return np.array(self.values, dtype=dtype or (float if plain else object)).T


class OnlyToNumpy:
    def __init__(self, array):
        self.array = array

    def to_numpy(self):
        return self.array


class OnlyDlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class ArrowTable(Frame):
    """Arrow names its columns ``column_names``; its ``columns`` are the data."""

    def __init__(self, **columns):
        super().__init__(**columns)
        self.column_names, self.columns = self.columns, self.values


def test_ndarrays_keep_memory_and_dtype():
    for dtype in (np.bool_, np.uint8, np.int64, np.float16, np.float32, np.float64):
        x = np.ones((3, 2), dtype)
        got = as_array(x)
        assert np.shares_memory(got, x)
        assert got.dtype == dtype


def test_memory_map_is_viewed_not_read(tmp_path):
    np.arange(12, dtype=np.uint8).tofile(tmp_path / "x.bin")
    x = np.memmap(tmp_path / "x.bin", np.uint8, "r", shape=(4, 3))
    got = as_array(x)
    assert type(got) is np.ndarray
    assert np.shares_memory(got, x)


@pytest.mark.parametrize("wrap", [OnlyToNumpy, OnlyDlpack, lambda a: a.tolist(), tuple])
def test_other_packages_and_lists(wrap):
    x = np.array([[1.5, 2.0], [3.0, 4.0]])
    assert np.array_equal(as_array(wrap(x)), x)


def test_tables_come_in_row_order():
    got = as_array(Frame(age=[1.0, 2.0], height=[3.0, 4.0]))
    assert got.flags.c_contiguous
    assert got.tolist() == [[1.0, 3.0], [2.0, 4.0]]


def test_table_of_mixed_numbers_is_float64():
    got = as_array(Frame(a=[1, 2], b=[True, False], c=[0.5, 2.0]))
    assert got.dtype == np.float64
    assert got.tolist() == [[1.0, 1.0, 0.5], [2.0, 0.0, 2.0]]


@pytest.mark.parametrize("table", [Frame, ArrowTable])
def test_text_column_is_named(table):
    with pytest.raises(
        DataError, match=r"x has dtype object; row 0, column 1 \('city'\) holds 'Ba"
    ):
        as_array(table(age=[1, 2], city=["Basel", "Bonn"]))


def test_missing_value_in_a_column_is_named():
    with pytest.raises(DataError, match=r"row 1, column 0 \('age'\) holds None.*missing"):
        as_array(Frame(age=[1, None], size=[True, 2]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.array([["a", "b"]]), r"dtype <U1; row 0, column 0 holds 'a'.*numpy\.unique"),
        (np.array([b"a"]), r"row 0 holds b'a'"),
        (np.array([1, "a"], object), r"row 1 holds 'a'"),
        (np.array([1, 2.5], object), r"All its values are numbers: pass x\.astype\(float\)"),
        (np.array([1j]), "complex dtype complex128"),
        (np.array(["2020-01-01"], "datetime64[D]"), "datetime64"),
        (np.zeros(2, [("a", float)]), "records"),
        (np.ma.masked_invalid([1.0, np.nan]), "1 masked"),
        ([[1.0], [2.0, 3.0]], "list and could not be turned into an array"),
        (object(), "object and could not"),
        (type("Sparse", (), {"toarray": lambda self: 0})(), r"sparse.*x\.toarray\(\)"),
    ],
)
def test_refused_with_the_reason(data, message):
    with pytest.raises(DataError, match=message):
        as_array(data)


def test_masked_array_without_masked_entries_is_plain():
    got = as_array(np.ma.masked_array([1.0, 2.0]))
    assert type(got) is np.ndarray


def test_another_packages_error_is_the_cause():
    class Stubborn:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("it requires grad")

    with pytest.raises(DataError, match=r"y is a Stubborn.*it requires grad") as caught:
        as_array(Stubborn(), "y")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_place():
    assert place((np.int64(5), np.int64(1))) == "row 5, column 1"


def test_is_arrays():
    assert is_arrays(np.zeros(2))
    assert is_arrays(OnlyToNumpy(np.zeros(2)))
    assert is_arrays(([1.0], [2]))
    assert not is_arrays([(np.zeros(2), np.zeros(2))])
    assert not is_arrays(lambda: iter(()))


@pytest.mark.parametrize(
    "once", [iter([1]), (n for n in range(2)), map(str, [1]), zip("a", strict=True)]
)
def test_one_shot_iterators_are_refused_unread(once):
    with pytest.raises(DataError, match=r"only once.*__iter__ starts over"):
        check_reiterable(once)
    assert len(list(once)) > 0


@pytest.mark.parametrize("source", [None, 5, "data.csv", {"x": 1}])
def test_what_is_no_data(source):
    with pytest.raises(DataError, match=f"got {type(source).__name__}"):
        open_pass(source)


def test_functions_must_return_an_iterator():
    assert list(open_pass(lambda: (n for n in range(2)))) == [0, 1]
    with pytest.raises(DataError, match="returned int"):
        open_pass(lambda: 5)


def test_type_error_inside_the_users_function_is_theirs():
    def broken():
        return iter([len(5)])

    with pytest.raises(TypeError, match="int"):
        open_pass(broken)


def test_unpack_forms():
    x, y, w = np.zeros((2, 3)), np.zeros(2), np.ones(2)
    assert unpack(x, "")[1:] == (None, None)
    assert unpack((x,), "")[0] is not None
    assert unpack((x, None, w), "")[1] is None
    got = unpack([x, y, w], "")
    assert all(np.shares_memory(a, b) for a, b in zip(got, (x, y, w), strict=True))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((1, 2, 3, 4), "batch 7: expected x, .*got 4 parts"),
        ((None, [1]), "batch 7: x is None"),
        ((1.0, 2.0), "batch 7: x is the single value"),
        (([[1.0]], [1, 2]), "batch 7: x has 1 rows but y has 2"),
        (([[1.0]], [1], [1.0, 2.0]), "x has 1 rows but sample_weight has 2"),
        (np.zeros((0, 3)), r"batch 7: x has no rows \(shape \(0, 3\)\)"),
    ],
)
def test_unpack_refuses(item, message):
    with pytest.raises(DataError, match=message):
        unpack(item, "batch 7: ")


def test_a_list_of_numbers_or_of_rows_is_one_data_set():
    assert is_arrays([1.0, 2.0])
    assert is_arrays([[1, 2], [3, 4]])
    for batches in (
        [],
        [[]],
        [[np.zeros((2, 2)), np.zeros(2)]],
        [([[1.0]], [0])],
        [[[[1.0]], [0]]],
    ):
        assert not is_arrays(batches)
