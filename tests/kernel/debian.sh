# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# To be sourced: packages of other suites of Debian (backports), from the mirror that this host uses, with lists and settings of their
# own, so that the host's package sources stay as they are.
#
#   private_apt FOLDER SUITE...   makes them in FOLDER; then `private apt-get ...` and `private apt-cache ...` see these suites
#   host_suite, host_mirror       the release of this host, and where it gets it from
host_suite() { (. /etc/os-release && echo "${VERSION_CODENAME:-}"); }
host_mirror() {
    local uris mirror
    uris=$(apt-get --print-uris update | sed -n "s|^'\(.*\)/dists/\([^/']*\)/InRelease'.*|\1 \2|p")
    # The one that has this release and its updates; else the first that has the release.
    mirror=$(awk -v s="$(host_suite)" '$2 == s { first = first ? first : $1; base[$1] = 1 } $2 == s "-updates" { up[$1] = 1 }
        END { for (m in base) if (m in up) { print m; exit } print first }' <<<"$uris")
    [ -n "$mirror" ] || { echo "no mirror of Debian $(host_suite) in this host's package sources" >&2; return 1; }
    echo "$mirror"
}
private_apt() {
    local folder=$1 mirror suite
    shift
    mirror=$(host_mirror) || return 1
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    for suite in "$@"; do
        printf 'deb %s %s main\ndeb-src %s %s main\n' "$mirror" "$suite" "$mirror" "$suite"
    done >"$folder/sources.list"
    private_apt_options=(-q -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
    private apt-get update >"$folder/update.log" 2>&1 || { tail -n 5 "$folder/update.log" >&2; return 1; }
}
private() { "$1" "${private_apt_options[@]}" "${@:2}"; }
# newest_of PACKAGE SUITE: the version of PACKAGE in SUITE
newest_of() { private apt-cache madison "$1" | awk -F' *[|] *' -v s="$2/" 'index($3, s) { print $2; exit }'; }
