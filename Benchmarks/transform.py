#!/usr/bin/env python3
"""The transform alone, on one core, beside what a user would script.

    swift build -c release --package-path Benchmarks
    python3 Benchmarks/transform.py

Prints changes a second (medians of five) of rules that pass data through, that make a hash of five fields of a JSON document
of 200 bytes, and that filter it by jq, with 10 and with 1,000 rules; of Foundation's JSON parser alone on the same documents,
which bounds the JSON mapping; and of a Python function that makes the same hash with a list of 10 and 1,000 regular
expressions. Then the ratios.
"""
import json, os, re, statistics, subprocess, time

ROOT = os.path.dirname(os.path.abspath(__file__))
DATA = [(f"/services/orders-{n % 50}/{n}", json.dumps({
    "name": f"orders-{n % 50}", "id": str(n), "address": f"10.0.{n // 250}.{n % 250}", "port": 8080, "sslPort": None, "payload": None,
    "registrationTimeUTC": 1700000000000, "serviceType": "DYNAMIC", "uriSpec": None}, separators=(",", ":")).encode()) for n in range(1000)]


def script(count):
    rules = [re.compile(f"^/other{n}/([^/]+)$") for n in range(1, count)]
    rules.insert(count // 2, re.compile("^/services/([^/]+)/([^/]+)$"))
    rates = []
    rounds = 50 if count == 10 else 3
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(rounds):
            for path, data in DATA:
                found = next(match for match in (rule.match(path) for rule in rules) if match)
                value = json.loads(data)
                _ = (f"svc:{found[2]}", {"service": found[1], "instance": found[2], "host": value["address"],
                                         "port": str(int(value["port"])), "type": value["serviceType"]})
        rates.append(rounds * len(DATA) / (time.perf_counter() - begin))
    return statistics.median(rates)


def main():
    printed = subprocess.run([ROOT + "/.build/release/transform"], check=True, capture_output=True, text=True).stdout
    rates = {tuple(line.split()[:-1]): int(line.split()[-1]) for line in printed.splitlines()}
    print(f"{'':24}{'10 rules':>12}{'1,000 rules':>13}{'ratio':>7}")
    for kind, name in [("pass", "passed through"), ("json", "five fields of JSON"), ("jq", "jq select")]:
        few, many = rates[kind, "10"], rates[kind, "1000"]
        print(f"{name:24}{few:12,}{many:13,}{many / few:7.2f}")
    few, many = script(10), script(1000)
    print(f"{'Python, five fields':24}{few:12,.0f}{many:13,.0f}{many / few:7.2f}")
    parse = rates["parse",]
    print(f"{'JSON parser alone':24}{parse:12,}")
    print(f"five fields of JSON: {rates['json', '10'] / few:.1f} times the script with 10 rules, "
          f"{rates['json', '1000'] / many:.0f} times with 1,000; {rates['json', '10'] / parse:.2f} of the parser alone")


if __name__ == "__main__":
    main()
