#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks a document against the Trace Event Format, as far as `trapline trace export` uses it.

Usage: trace_events_check.py FILE. Says how many calls, and of which vCPUs; ends with 1 where
something is wrong.
"""
import json
import sys


def require(condition, event, what):
    if not condition:
        sys.exit(f"{what}: {json.dumps(event)}")


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_metadata(event, names):
    require(event["name"] in ("process_name", "thread_name"), event, "unknown metadata")
    require(isinstance(event["args"].get("name"), str), event, "no name")
    names[(event["name"], event["tid"])] = event["args"]["name"]


def check_call(event, ends):
    require(isinstance(event["name"], str) and event["name"], event, "no name")
    require(is_number(event["ts"]) and is_number(event["dur"]), event, "no time")
    require(event["dur"] >= 0, event, "ends before it begins")
    # Rounded to nanoseconds when written, and no better than a double when read.
    require(event["ts"] >= ends.get(event["tid"], float("-inf")) - 0.001, event, "overlaps")
    ends[event["tid"]] = event["ts"] + event["dur"]
    require(isinstance(event["args"], dict), event, "args are no object")


def check_mark(event):
    require(event["s"] in ("g", "p", "t"), event, "unknown scope")
    require(is_number(event["ts"]), event, "no time")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    require(isinstance(document["traceEvents"], list), {}, "traceEvents are no array")
    require(document["displayTimeUnit"] in ("ms", "ns"), {}, "unknown unit")
    names, ends, calls = {}, {}, 0
    for event in document["traceEvents"]:
        for key in ("pid", "tid"):
            require(isinstance(event[key], int), event, f"no {key}")
        if event["ph"] == "M":
            check_metadata(event, names)
        elif event["ph"] == "X":
            check_call(event, ends)
            calls += 1
        elif event["ph"] == "i":
            check_mark(event)
        else:
            require(False, event, "unknown phase")
    for thread in ends:
        require(("thread_name", thread) in names, {"tid": thread}, "thread has no name")
    processes = sorted(name for (kind, _), name in names.items() if kind == "process_name")
    threads = sorted(name for (kind, _), name in names.items() if kind == "thread_name")
    print(f"{calls} calls of {', '.join(processes)}: {', '.join(threads)}")


main()
