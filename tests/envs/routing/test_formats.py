"""Traces of each form, and what is said of broken ones."""

import gzip
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.envs.core import files
from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.routing import formats
from makespan.envs.routing.examples import ALONE
from makespan.envs.routing.formats import (
    parse_fleet,
    read_instance,
    read_trace,
    read_trace_windows,
    scaled,
    trace_windows,
)
from makespan.envs.routing.instance import Fleet

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:16:46.6805900,879,55
"""
BURST = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total,Log Type
5,a,1.5,ChatGPT,472,18,490,Conversation log
45,b,2.0,ChatGPT,1087,0,1087,Conversation log
118,a,3.0,GPT-4,417,276,693,Conversation log
"""
MOONCAKE = [
    {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [46, 47, 48]},
    {"timestamp": 3000, "input_length": 1024, "output_length": 7, "hash_ids": [46, 99]},
]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_azure_columns(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "azure.csv", AZURE))
    np.testing.assert_allclose(trace.arrival, [0, 4.314579, 60])
    assert trace.prompt.tolist() == [374, 396, 879]
    assert trace.output.tolist() == [44, 109, 55]
    assert trace.name == "azure"


def test_burst_gpt_columns_without_failures(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "burst.csv", BURST))
    assert trace.arrival.tolist() == [0, 113]
    assert trace.output.tolist() == [18, 276]
    assert trace.client.tolist() == [0, 0]


def test_mooncake_lines_and_their_full_blocks(tmp_path: Path) -> None:
    lines = "".join(json.dumps(line) + "\n" for line in MOONCAKE)
    trace = read_trace(written(tmp_path / "moon.jsonl", lines))
    assert trace.arrival.tolist() == [0, 3]
    assert trace.prefixes == [[46, 47], [46, 99]]  # the third block of the first is not full
    with gzip.open(tmp_path / "moon.jsonl.gz", "wt") as file:
        file.write(lines)
    zipped = read_trace(tmp_path / "moon.jsonl.gz")
    assert zipped.prefixes == trace.prefixes
    instance = trace_windows(trace, Fleet.of(["a100/llama-3.1-8b/1"]), prefix_cache=True)[0]
    assert instance.prefixes.tolist() == [0, 1, 0, 2]  # numbered anew


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "line 1: found the columns a, b; expected TIMESTAMP, ContextTokens"),
        ("", "found the columns none"),
        ("arrival_s,prompt_tokens,output_tokens\n", "found no requests"),
        ("arrival_s,prompt_tokens,output_tokens\nx,1,1\n", "line 2: arrival_s: found 'x'"),
        ("arrival_s,prompt_tokens,output_tokens\n1,2\n", "line 2: output_tokens: found None"),
        ("arrival_s,prompt_tokens,output_tokens\n1,2.5,3\n", "found '2.5', expected a whole"),
        ("arrival_s,prompt_tokens,output_tokens\n-1,2,3\n", "line 2: found the time -1.0"),
        ("arrival_s,prompt_tokens,output_tokens\n5,2,3\n4,2,3\n", "line 3: found the time 4.0 aft"),
        (AZURE.replace("2023-11-16 18:15:50", "yesterday"), "line 3: TIMESTAMP: found 'yesterday"),
        (AZURE.replace("2023-11-16 18:15:50", "2023-11-16 18:15:50+02:00"), "line 3: TIMESTAMP"),
        (AZURE.replace("18:15:50.99", "18:15:50.99-11"), "line 3: TIMESTAMP.* expected a date"),
        ('{"timestamp": 1}\n', "line 1: found no input_length or output_length"),
        ('{"timestamp": 1,\n', "line 1: not JSON"),
        (json.dumps(MOONCAKE[0] | {"hash_ids": "x"}), "hash_ids: expected a list"),
    ],
)
def test_a_broken_trace_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        read_trace(written(tmp_path / "broken.csv", text))


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="cannot be read"):
        read_trace(tmp_path / "nothing.csv")
    with pytest.raises(InstanceError, match="cannot be read"):
        read_trace(written(tmp_path / "not.gz", "plain"))


def long_trace(tmp_path: Path, count: int = 100) -> Path:
    rows = "".join(f"{0.5 * i},{100 + i},{20 + i % 30}\n" for i in range(count))
    text = "arrival_s,prompt_tokens,output_tokens\n" + rows
    return written(tmp_path / "long.csv", text)


def test_windows_follow_one_another(tmp_path: Path) -> None:
    trace = read_trace(long_trace(tmp_path))
    fleet = Fleet.of(2 * ["a100/llama-2-7b/1"])
    windows = trace_windows(trace, fleet, requests=30, predictor="exact", error=0.0)
    assert [window.num_requests for window in windows] == [30, 30, 30]
    assert all(window.arrival[0] == 0 for window in windows)
    np.testing.assert_array_equal(windows[0].predicted, windows[0].output)
    faster = trace_windows(trace, fleet, requests=30, rate=2.0)[0]
    np.testing.assert_allclose(faster.arrival * 2, windows[0].arrival)
    loaded = trace_windows(trace, fleet, requests=30, load=0.7)[0]
    assert loaded.offered_load == pytest.approx(0.7)
    assert scaled(loaded, 2.0).offered_load == pytest.approx(1.4)


def test_parts_of_a_trace_do_not_overlap(tmp_path: Path) -> None:
    path = long_trace(tmp_path)
    parts = [
        read_trace_windows(f"{path}:part={part},requests=1000,load=0.5")[0].prompt.tolist()
        for part in ("train", "validation", "test")
    ]
    assert [prompt for part in parts for prompt in part] == list(range(100, 200))


def test_what_fits_nowhere_is_left_out_and_said(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "t.csv", AZURE.replace("879", "900000")))
    instance = trace_windows(trace, Fleet.of(["a100/llama-2-7b/1"]))[0]
    assert instance.num_requests == 2
    assert "1 too long" in instance.name


@pytest.mark.parametrize("options", [{"watermark": 0.5}, {"block_tokens": 8}])
def test_what_fits_is_what_the_options_leave_of_the_memory(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """7,370 blocks of 16 tokens take 100,000; with half of them free, or of 8 tokens, not."""
    trace = read_trace(written(tmp_path / "t.csv", AZURE.replace("879", "100000")))
    fleet = Fleet.of(["a100/llama-2-7b/1"])
    assert trace_windows(trace, fleet)[0].num_requests == 3
    assert trace_windows(trace, fleet, **options)[0].num_requests == 2


def test_a_plain_trace_may_be_larger_than_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "large.csv", AZURE + "\n" * files.MAX_FILE_SIZE)
    assert len(read_trace(path).prompt) == 3
    monkeypatch.setattr(formats, "MAX_TRACE_SIZE", 100)
    with pytest.raises(InstanceError, match="the most that is read"):
        read_trace(path)


@pytest.mark.parametrize("zone", ["Z", "+00:00"])
def test_utc_may_be_said(tmp_path: Path, zone: str) -> None:
    text = AZURE.replace("5900,", f"5900{zone},")
    np.testing.assert_allclose(read_trace(written(tmp_path / "z.csv", text)).arrival[2], 60)


def test_an_overload_is_said_before_the_run(tmp_path: Path) -> None:
    path = long_trace(tmp_path)
    with pytest.warns(UserWarning, match="offer more than the fleet can serve"):
        read_trace_windows(f"{path}:rate=1000")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_trace_windows(f"{path}:load=0.5")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("fleet=4*a100/llama-7b/1", UnknownNameError, "unknown GPU/model/TP preset"),
        ("fleet=x*a100/llama-2-7b/1", UsageError, r"expected number\*preset"),
        ("flet=1", UnknownNameError, "did you mean fleet"),
        ("requests", UsageError, "expected option=value"),
        ("requests=0", UsageError, "expected more than 0"),
        ("rate=fast", InstanceError, "rate: found 'fast'"),
        ("part=tset", UnknownNameError, "did you mean test"),
        ("predictor=oracle", UnknownNameError, "unknown predictor"),
        ("load=0.8,requests=1", UsageError, r"load: found 1 request\(s\) at one time in long-0"),
        ("memory=50", UsageError, "memory: found 50.0, expected more than 0, at most 1"),
        ("memory=1e20", UsageError, "memory: found 1e\\+20"),
        ("memory=-1", UsageError, "memory: found -1.0"),
        ("cache=yes", UnknownNameError, "unknown cache 'yes'; known: off, on"),
        ("fleet=\u00b2*a100/llama-2-7b/1", UsageError, r"expected number\*preset"),
        ("fleet=4097*a100/llama-2-7b/1", UsageError, "at most 4096 replicas"),
        ("fleet=4000*a100/llama-2-7b/1+97*a100/llama-2-7b/1", UsageError, "at most 4096"),
        ("rate=2,rate=3", UsageError, "found rate twice"),
        ("rate=2,load=0.5", UsageError, "found load and rate, expected one of them"),
    ],
)
def test_wrong_options_of_a_trace_are_explained(
    tmp_path: Path, options: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_trace_windows(f"{long_trace(tmp_path)}:{options}")


def test_fleets() -> None:
    assert parse_fleet("2*a+b") == ["a", "a", "b"]


def test_instances_are_read_and_traces_are_pointed_elsewhere(tmp_path: Path) -> None:
    assert read_instance(written(tmp_path / "alone.json", ALONE.to_json())) == ALONE
    with pytest.raises(InstanceError, match="give it with --trace"):
        read_instance(written(tmp_path / "azure.csv", AZURE))
    with pytest.raises(InstanceError, match=r"alone\.json: field 'kind': found 'x'"):
        read_instance(written(tmp_path / "alone.json", '{"kind": "x"}'))
