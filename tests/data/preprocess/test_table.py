"""Tables to features: what is recognised, learnt, replayed, refused and stored."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.array.errors import DataError, FileFormatError
from chainrule.data import TablePreprocessor, describe_columns
from chainrule.data.preprocess import table as module

N = 240


def people(n: int = N) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    start = datetime(2020, 1, 1)
    age = pl.Series(rng.integers(18, 90, n)).cast(pl.Float64)
    return pl.DataFrame(
        {
            "id": rng.permutation(n),
            "age": age.set(pl.Series(rng.random(n) < 0.1), None),
            "smoker": rng.choice(["yes", "no"], n),
            "size": rng.choice(["S", "M", "L"], n),
            "city": [f"city{k}" for k in rng.integers(0, 30, n)],
            "joined": [start + timedelta(hours=int(h)) for h in rng.integers(0, 20_000, n)],
            "height": rng.standard_normal(n) * 0.1 + 1.7,
            "flat": ["same"] * n,
            "copy": age.set(pl.Series(rng.random(n) < 0), None),
            "note": [
                f"what {w} weather we have here, day {k}"
                for k, w in enumerate(rng.choice(["fine", "bad"], n))
            ],
        }
    ).with_columns(twin=pl.col("height"))


def test_a_table_of_every_kind() -> None:
    frame = people()
    prepare = TablePreprocessor(ordinal={"size": ["S", "M", "L"]}).fit(frame)
    kinds = {c.name: c.kind for c in prepare.columns}
    assert kinds == {
        "id": "identifier",
        "age": "numeric",
        "smoker": "boolean",
        "size": "ordinal",
        "city": "categorical",
        "joined": "datetime",
        "height": "numeric",
        "flat": "constant",
        "copy": "numeric",
        "note": "text",
        "twin": "duplicate",
    }
    assert prepare.identifiers == ["id"]
    assert len(prepare.warnings) == 1
    assert prepare.inputs == ["age", "smoker", "size", "city", "joined", "height", "copy", "note"]
    assert prepare.width == len(prepare.feature_names) == len(prepare.sources)
    assert prepare.feature_names[-1] == prepare.sources[-1] == "city"
    x = prepare.transform(frame)
    assert x.shape == (N, prepare.width)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    ((cardinality, width),) = prepare.embeddings
    assert x[:, -1].max() == cardinality - 1
    assert width == 11
    height = frame["height"].to_numpy()
    np.testing.assert_allclose(
        x[:, prepare.feature_names.index("height")],
        (height - height.mean()) / height.std(),
        rtol=1e-5,
        atol=1e-6,
    )


def test_columns_say_what_is_done() -> None:
    frame = pl.DataFrame({"k": ["x", None, "x", "y"], "z": [None, 1.5, 2.5, 2.5]})
    first, second = describe_columns(frame)
    assert (first.kind, first.missing, first.unique, first.example) == ("categorical", 1, 2, "x")
    assert second.example == "1.5"
    assert describe_columns(frame, exclude=["k"]) == [second]
    assert describe_columns(frame, kinds={"z": "categorical"})[1].kind == "categorical"
    assert describe_columns(frame, ordinal={"k": "yx"})[0].kind == "ordinal"
    assert "as it is" in describe_columns(frame, scaling="none")[1].action


def test_the_same_rows_give_the_same_features_in_any_company() -> None:
    frame = people()
    prepare = TablePreprocessor().fit(frame)
    x = prepare.transform(frame)
    order = np.random.default_rng(1).permutation(N)
    assert (prepare.transform(frame[order].select(reversed(frame.columns))) == x[order]).all()
    assert (prepare.transform(frame[3:4]) == x[3:4]).all()
    assert prepare.transform(frame[:0]).shape == (0, prepare.width)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = people()
    prepare = TablePreprocessor().fit(frame)
    x = prepare.transform(frame)
    monkeypatch.setattr(module, "_BLOCK", 7 * prepare.width)
    assert (prepare.transform(frame) == x).all()
    bad = frame.with_columns(age=pl.when(pl.int_range(N) > 99).then(np.inf).otherwise(1.0))
    with pytest.raises(DataError, match=r"140 values that are infinite \(row 100: inf"):
        prepare.transform(bad)


def test_what_is_not_trained_on_changes_nothing() -> None:
    frame = people()
    a = TablePreprocessor().fit(frame[: N // 2])
    b = TablePreprocessor().fit(pl.concat([frame[: N // 2], frame[N // 2 :]])[: N // 2])
    prepared = a.transform(frame[N // 2 :])
    assert a.to_json() == b.to_json()
    assert (prepared == b.transform(frame[N // 2 :])).all()


def test_fitting_leaves_the_table_alone() -> None:
    frame = people()
    before = frame.clone()
    TablePreprocessor(scaling="quantile").fit_transform(frame)
    assert frame.equals(before)


def test_a_table_of_another_package_gives_the_same() -> None:
    x = np.random.default_rng(0).standard_normal((30, 2))
    prepare = TablePreprocessor().fit(x)
    assert (prepare.transform({"x0": x[:, 0], "x1": x[:, 1]}) == prepare.transform(x)).all()


def test_a_single_column_is_kept_whatever_it_looks_like() -> None:
    assert TablePreprocessor().fit({"x": list(range(50))}).inputs == ["x"]


def test_identifiers_and_names_are_warned_about() -> None:
    frame = pl.DataFrame({"shop_id": [7, 8] * 20, "row": range(40), "x": np.arange(40.0) ** 0.5})
    prepare = TablePreprocessor().fit(frame)
    assert prepare.identifiers == ["row"]
    assert "'row' identifies rows (whole numbers that increase" in prepare.warnings[0]
    assert "a number used as a name?" in prepare.columns[0].note
    kept = TablePreprocessor(kinds={"row": "numeric", "x": "identifier"}).fit(frame)
    assert kept.inputs == ["shop_id", "row"]
    assert kept.identifiers == ["x"]
    assert kept.warnings == []


def test_leaks_are_warned_about() -> None:
    y = np.arange(60) % 2
    frame = pl.DataFrame({"x": np.arange(60) % 7, "outcome": np.where(y, "won", "lost")})
    prepare = TablePreprocessor().fit(frame, y)
    (warning,) = prepare.warnings
    assert "'outcome' may give the target away" in warning
    assert "gives the target away" in prepare.columns[1].note
    assert TablePreprocessor().fit(frame).warnings == []


def test_rare_categories_by_default() -> None:
    frame = {"k": ["a"] * 5 + ["b"] * 4 + ["c"], "x": range(10)}
    names = TablePreprocessor().fit(frame).feature_names
    assert names == ["k=a", "k=b", "k=(rare)", "x"]
    (column, _) = TablePreprocessor(rare=9).fit(frame).columns
    assert column.action == "left out: each category has under 9 rows"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaling": "standart"}, "did you mean 'standard'"),
        ({"kinds": {"x": "numerical"}}, "did you mean 'numeric'"),
        ({"rare": 0}, "rare=0"),
        ({"rare": 2.5}, "rare=2.5"),
        ({"one_hot_up_to": -1}, "one_hot_up_to=-1"),
        ({"ordinal": {"x": ["a", "a"]}}, "two or more different"),
        ({"ordinal": {"x": ["a", "b"]}, "kinds": {"x": "numeric"}}, "leave one of them out"),
    ],
)
def test_options_that_are_none(options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TablePreprocessor(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": {"agee": "numeric"}}, "kinds names column 'agee'.*did you mean 'age'"),
        ({"drop": ["hight"]}, "drop names column 'hight'.*did you mean 'height'"),
        ({"ordinal": {"sise": [1, 2]}}, "ordinal names column 'sise'"),
        ({"kinds": {"size": "ordinal"}}, "give its order too"),
        ({"kinds": {"size": "numeric"}}, "240 values that are no numbers"),
        ({"kinds": {"size": "boolean"}}, "other than yes and no"),
        ({"kinds": {"age": "datetime"}}, "expected dates"),
        ({"ordinal": {"size": ["S", "M"]}}, "that the given order lacks"),
    ],
)
def test_options_that_do_not_fit_the_table(options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TablePreprocessor(**options).fit(people())


def test_tables_to_learn_nothing_from() -> None:
    with pytest.raises(DataError, match="no rows"):
        TablePreprocessor().fit({"x": []})
    with pytest.raises(
        DataError, match="'x' left out: it is always 1; 'y' left out: it has no val"
    ):
        TablePreprocessor().fit({"x": [1, 1], "y": [None, float("nan")]})
    with pytest.raises(DataError, match="not fitted"):
        TablePreprocessor().transform({"x": [1]})
    failed = TablePreprocessor()
    with pytest.raises(DataError):
        failed.fit({"a": [1.0, 2.0], "b": [1.0, np.inf]})
    assert failed.width == 0
    assert failed.columns == []


def test_other_rows_are_checked() -> None:
    prepare = TablePreprocessor().fit(people())
    assert prepare.check(people()) == []
    with pytest.raises(DataError, match=r"new\.csv lacks column 'age'.*did you mean 'Age'"):
        prepare.check(people().rename({"age": "Age"}), "new.csv")
    with pytest.raises(DataError, match="lacks columns 'age', 'city'"):
        prepare.transform(people().drop("age", "city"))
    with pytest.raises(DataError, match="column 'joined' has type Int64"):
        prepare.check(people().with_columns(joined=pl.int_range(N)))
    with pytest.raises(
        DataError, match=r"column 'age' has 1 value that is no number \(row 5: 'x'\)"
    ):
        text = people()["age"].cast(pl.String)
        text[5] = "x"
        prepare.check(people().with_columns(age=text))
    notes = prepare.check(people().with_columns(city=pl.lit("Ulm"), height=pl.lit(None), extra=1))
    assert len(notes) == 3
    assert "240 rows of categories not seen" in "".join(notes)
    assert "height: 240 rows without a value" in "".join(notes)
    assert "column 'extra' is not used" in notes


def test_numbers_written_as_text_are_read() -> None:
    frame = people()
    prepare = TablePreprocessor().fit(frame)
    text = frame.with_columns(pl.col("age", "height", "joined").cast(pl.String))
    assert (prepare.transform(text) == prepare.transform(frame)).all()


# -- any table ------------------------------------------------------------------------------------

NUMBER = st.one_of(
    st.none(),
    st.floats(allow_infinity=False),
    st.sampled_from([0.0, 1.0, 1e300, -1.7e308, 5e-324, 1e-300, 3.5]),
)
WORD = st.one_of(st.none(), st.sampled_from(["a", "b", "é", "日本", " ", "", "yes", "1", "true"]))
MOMENT = st.one_of(st.none(), st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))
CELLS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "float": (NUMBER, pl.Float64),
    "single": (
        NUMBER.map(lambda v: None if v is None else float(np.float32(0.5) * (v > 0))),
        pl.Float32,
    ),
    "int": (st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 3)), pl.Int64),
    "bool": (st.one_of(st.none(), st.booleans()), pl.Boolean),
    "word": (WORD, pl.String),
    "text": (st.one_of(st.none(), st.text(max_size=60)), pl.String),
    "moment": (MOMENT, pl.Datetime("us")),
    "duration": (
        st.one_of(st.none(), st.timedeltas(timedelta(-(10**6)), timedelta(10**6))),
        pl.Duration("us"),
    ),
    "constant": (st.just(7), pl.Int8),
    "nothing": (st.none(), pl.Null),
    "list": (st.just([1]), pl.List(pl.Int64)),
}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(1, 30))
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=5))
    columns = []
    for k, kind in enumerate(kinds):
        cell, dtype = CELLS[kind]
        values = draw(st.lists(cell, min_size=rows, max_size=rows))
        columns.append(pl.Series(f"{kind}{k}", values, dtype=dtype, strict=False))
    return pl.DataFrame(columns)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    tables(),
    st.sampled_from(["standard", "robust", "quantile", "none"]),
    st.integers(0, 3),
    st.integers(1, 3),
    st.booleans(),
)
def test_any_table_is_prepared_or_refused(
    frame: pl.DataFrame, scaling: str, one_hot: int, rare: int, with_target: bool
) -> None:
    prepare = TablePreprocessor(scaling=scaling, one_hot_up_to=one_hot, rare=rare)
    half = max(1, len(frame) // 2)
    target = np.arange(half) % 2 if with_target else None
    try:
        prepare.fit(frame[:half], target)
    except DataError:
        return
    stored = prepare.to_json()
    again = TablePreprocessor.from_json(json.loads(json.dumps(stored)))
    assert again.to_json() == stored
    for part in (frame[:half], frame):
        try:
            x = prepare.transform(part)
        except DataError:
            assert part is frame
            continue
        assert x.dtype == np.float32
        assert x.shape == (len(part), prepare.width)
        assert np.isfinite(x).all()
        assert again.transform(part).tobytes() == x.tobytes()
        prepare.check(part)
        for (size, _), codes in zip(
            prepare.embeddings, x.T[len(x.T) - len(prepare.embeddings) :], strict=True
        ):
            assert ((codes >= 0) & (codes < size) & (codes == np.floor(codes))).all()


# -- files ----------------------------------------------------------------------------------------

FITTED = [
    TablePreprocessor(ordinal={"size": ["S", "M", "L"]}).fit(people(60)).to_json(),
    TablePreprocessor(scaling="quantile", one_hot_up_to=2).fit(people(60)).to_json(),
]
JUNK = [None, True, -1, 0, 3, 0.5, float("nan"), 1e308, 10**400, "", "x", [], [1], {}, {"a": 1}]


def mutate(value: Any, choose: random.Random) -> Any:
    """The JSON with one thing in it changed, removed, doubled or added."""
    whole = json.loads(json.dumps(value))
    part, parent, key = whole, None, None
    while isinstance(part, dict | list) and part and choose.random() < 0.85:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        parent, key = part, choose.choice(keys)
        part = parent[key]
    if parent is None:
        return choose.choice(JUNK)
    way = choose.randrange(4)
    if way == 0:
        del parent[key]
    elif way == 1 and isinstance(parent, list):
        parent.append(part)
    elif way == 2 and isinstance(parent, dict):
        parent[choose.choice(["x", "kind", "unit"])] = choose.choice(JUNK)
    else:
        parent[key] = choose.choice(JUNK)
    return whole


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(FITTED))
def test_a_damaged_file_is_refused_or_harmless(seed: int, stored: Any) -> None:
    damaged = mutate(stored, random.Random(seed))
    try:
        prepare = TablePreprocessor.from_json(damaged)
    except FileFormatError:
        return
    frame = people(60)
    try:
        x = prepare.transform(frame)
        prepare.check(frame)
    except DataError:
        return
    assert np.isfinite(x).all()


def test_what_is_no_preparation() -> None:
    for value in (None, {}, [], {**FITTED[0], "version": 99}, {**FITTED[0], "encoders": []}):
        with pytest.raises(FileFormatError):
            TablePreprocessor.from_json(value)
    encoders = [{**FITTED[0]["encoders"][0], "kind": "os.system"}]
    with pytest.raises(FileFormatError, match=r"'os\.system', which is none"):
        TablePreprocessor.from_json({**FITTED[0], "encoders": encoders})
