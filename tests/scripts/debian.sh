#!/usr/bin/env bash
# Unpacks one of Debian's packages, so that a test can use what somebody else wrote. Nothing is installed.
#
# Usage: debian.sh binary PACKAGE DIRECTORY              the files of the package, under DIRECTORY
#        debian.sh source PACKAGE DIRECTORY PATTERN      of its upstream archive what matches, without the leading folder
# DIRECTORY appears whole or not at all, and everyone can read it. Exit code 3: it cannot be had on this machine.
set -euo pipefail
kind=$1 package=$2 directory=$(realpath -m "$3")
work=$(mktemp -d "$(dirname "$directory")/fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT

unavailable() {
    echo "$1" >&2
    exit 3
}
command -v apt-get >/dev/null || unavailable "no apt-get to fetch $package with"
mkdir "$work/content"
cd "$work"

case $kind in
binary)
    apt-get download -qq "$package" 2>/dev/null || unavailable "the package $package cannot be fetched"
    dpkg -x ./*.deb content
    ;;
source)
    # The sites and suites of the packages themselves, with lists of our own: the system's configuration stays as it is.
    mkdir -p lists/partial
    apt-cache policy | awk '$1 ~ /^[0-9]+$/ && $3 ~ /\/main$/ { split($3, suite, "/main"); print "deb-src", $2, suite[1], "main" }' \
        | sort -u >sources.list
    options=(-qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >/dev/null 2>&1 || true
    # The security suite can name a version that its mirror does not have yet: then the one that is installable here.
    installable=$(apt-cache policy "$package" | awk '/Installed:|Candidate:/ { print $2 }' | grep -v '(none)' | head -n 1 || true)
    apt-get "${options[@]}" source --download-only --tar-only "$package${installable:+=$installable}" >/dev/null 2>&1 \
        || apt-get "${options[@]}" source --download-only --tar-only "$package" >/dev/null 2>&1 \
        || unavailable "the source of $package cannot be fetched"
    tar -xf ./*.orig.tar.* -C content --strip-components=1 --wildcards "$4"
    ;;
esac
chmod -R a+rX content
mv content "$directory"
