#!/usr/bin/env bash
# Has systemd read a unit file, with a stand-in for the program that is not installed here.
#   verify_unit.sh FILE
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed "s|/usr/local/bin/scopegate|/bin/true|" "$1" > "$folder/$(basename "$1")"
output=$(systemd-analyze verify --man=no "$folder/$(basename "$1")" 2>&1) || { echo "$output"; exit 1; }
# What it only complains of is a mistake as well; what other units on the machine lack is not ours.
complaints=$(grep -F "$(basename "$1")" <<< "$output" || true)
[ -z "$complaints" ] || { echo "$complaints"; exit 1; }
