#!/usr/bin/env bash
# Makes certificates for tests into a folder:  make-certs.sh FOLDER
#   ca           the authority of both
#   server       127.0.0.1, ::1, localhost
#   client       DNS:client.test, for listeners and upstreams that ask for a certificate
set -Eeuo pipefail
mkdir -p "$1" && cd "$1"
exec 3>&2 2>openssl.log # openssl chats there; only a failure is worth reading
trap 'cat openssl.log >&3' ERR

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
days=(-days 30)

self_signed() { # name, further openssl arguments
  openssl req -x509 "${new_key[@]}" "${days[@]}" -keyout "$1.key" -out "$1.crt" -subj "/CN=$1" "${@:2}"
}

from_ca() { # name, extendedKeyUsage, subjectAltName
  openssl req -new "${new_key[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
  printf '%s\n' basicConstraints=critical,CA:FALSE "extendedKeyUsage=$2" "subjectAltName=$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" "${days[@]}" -CA ca.crt -CAkey ca.key -CAcreateserial \
    -extfile "$1.ext" -out "$1.crt"
  rm "$1.csr" "$1.ext"
}

self_signed ca -addext keyUsage=critical,keyCertSign,cRLSign
from_ca server serverAuth IP:127.0.0.1,IP:::1,DNS:localhost
from_ca client clientAuth DNS:client.test
