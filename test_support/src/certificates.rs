//! Certificates of TLS with their keys, in PEM: as a hoster has them, and as one has them by mistake. They are self-signed and
//! of no use to anybody; made with `openssl req -x509 -newkey ... -nodes -days 36500 -subj /CN=lobby.example.org`, the old one
//! with `openssl ca -extfile -startdate -enddate`.

use std::path::{Path, PathBuf};

/// This is a certificate, and its key.
#[derive(Clone, Copy, Debug)]
pub struct Pem {
    /// This is the text of the certificate's file.
    pub certificate: &'static str,
    /// This is the text of the key's file.
    pub key: &'static str,
}

impl Pem {
    /// Writes both into this folder, over what was there; returns the two files.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("fullchain.pem"), folder.join("privkey.pem"));
        std::fs::write(&certificate, self.certificate).unwrap();
        std::fs::write(&key, self.key).unwrap();
        (certificate, key)
    }
}

/// One of P-256, good for a hundred years.
pub const ONE: Pem = Pem {
    certificate: "\
-----BEGIN CERTIFICATE-----
MIIBrjCCAVOgAwIBAgIUb1EgsWTNqPySM6s+G2xqM1Tb8xYwCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRbG9iYnkuZXhhbXBsZS5vcmcwIBcNMjYxMTI3MDQxMTU0WhgP
MjEyNjExMDMwNDExNTRaMBwxGjAYBgNVBAMMEWxvYmJ5LmV4YW1wbGUub3JnMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEj9aN5EdqQ7nOPDsrLzhFx5SsLmCGeGF4
34FpcrheC/IFegeBU/xYASPeaEQEaXz2w2JKxN3O0EPIK+d8uugUWaNxMG8wHQYD
VR0OBBYEFDfTQS//If6bRlfJOAt/osGxkaeiMB8GA1UdIwQYMBaAFDfTQS//If6b
RlfJOAt/osGxkaeiMA8GA1UdEwEB/wQFMAMBAf8wHAYDVR0RBBUwE4IRbG9iYnku
ZXhhbXBsZS5vcmcwCgYIKoZIzj0EAwIDSQAwRgIhANIM3XrqFu/X0gYzTmwwXeOJ
N9xegSBBoUWIu8BhmgijAiEApe5oARZkPF5mPg8w46BmeV7+ykUWaoHEf4ERBmRa
UBI=
-----END CERTIFICATE-----
",
    key: "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpOhWRNTBh+uSh1ag
l2XFQeb06eBRuMTRDtnOyIEYhJqhRANCAASP1o3kR2pDuc48OysvOEXHlKwuYIZ4
YXjfgWlyuF4L8gV6B4FT/FgBI95oRARpfPbDYkrE3c7QQ8gr53y66BRZ
-----END PRIVATE KEY-----
",
};

/// Another one.
pub const TWO: Pem = Pem {
    certificate: "\
-----BEGIN CERTIFICATE-----
MIIBrDCCAVOgAwIBAgIUNKPdvSJtOY8SunL9j0pXRy8vbF0wCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRbG9iYnkuZXhhbXBsZS5vcmcwIBcNMjYxMTI3MDQxMTU0WhgP
MjEyNjExMDMwNDExNTRaMBwxGjAYBgNVBAMMEWxvYmJ5LmV4YW1wbGUub3JnMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExMSj1JLcjzkIqEOxc9kUudp4IL/oZfC4
6L1hKKolwGj/K6HPA7FgPdGpqElJ/+YnJ+y3W/EsZlVvacMD8KiwUKNxMG8wHQYD
VR0OBBYEFL5DrRKYISV8hXQw10r/k3wbTKsBMB8GA1UdIwQYMBaAFL5DrRKYISV8
hXQw10r/k3wbTKsBMA8GA1UdEwEB/wQFMAMBAf8wHAYDVR0RBBUwE4IRbG9iYnku
ZXhhbXBsZS5vcmcwCgYIKoZIzj0EAwIDRwAwRAIgLY2R7B0corkn47PgEBD4tsZz
lMuUxJU+f8P+1AQNVq8CIGE61kcW6qwuy+3kLRJKYL29NEm1EwitKk9y4XCWCe5J
-----END CERTIFICATE-----
",
    key: "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDGQoWIl+9Wu5wOJe
Dr+zkmN7dp6+4U0dw7LxQj/q466hRANCAATExKPUktyPOQioQ7Fz2RS52nggv+hl
8LjovWEoqiXAaP8roc8DsWA90amoSUn/5icn7Ldb8SxmVW9pwwPwqLBQ
-----END PRIVATE KEY-----
",
};

/// One of RSA with 2,048 bits.
pub const RSA: Pem = Pem {
    certificate: "\
-----BEGIN CERTIFICATE-----
MIIDGzCCAgOgAwIBAgIUTNmc4RsoJLNazZP/P7i1gWQZ4lowDQYJKoZIhvcNAQEL
BQAwHDEaMBgGA1UEAwwRbG9iYnkuZXhhbXBsZS5vcmcwIBcNMjYxMTI3MDQxMTU0
WhgPMjEyNjExMDMwNDExNTRaMBwxGjAYBgNVBAMMEWxvYmJ5LmV4YW1wbGUub3Jn
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvq2LZrBSjkTOtNQ9N4g/
pbxkOMwDDz1Id6DxvjimZnSHaSHi3NjvU4kb4cFrbm5v8PegbiDBZYREabygHW+K
sQgkTN4TUhn5pVNMTCiOJrGBnBifqvUXIq0Gzo6TR8VRlEXHr/miHfhTrxink02o
U0q2VxmlwGh+Gp4owsCgCMjUsmnnGacMI7P+wAsiLAywhSZeDNATr9dzEKiqUAwR
X8GGeyK/iWqNHjhi2Esu6KW/7XKjKS8hTdqs8BOK9yfYBqhoK8fs+xa1zn9uoYhK
0PLuM8xMzQPg07/MgHTxEK0gJNTr2Z/k/++6UXhVhtZQqYBNoULF8DP6LqA9UzoK
nwIDAQABo1MwUTAdBgNVHQ4EFgQUOSVKiDCp8jDERripI2gl+aMWeG0wHwYDVR0j
BBgwFoAUOSVKiDCp8jDERripI2gl+aMWeG0wDwYDVR0TAQH/BAUwAwEB/zANBgkq
hkiG9w0BAQsFAAOCAQEAGvfXVtxl8dOxLbr4mFkmEISXLjxCXAgwV/JMchwZQ4yx
bA0IfvicpwFTsFOxq50rjtTjPcsa6ZcFlZgZgpucDh9Tv3e/lLytTpCTgNdJtVog
p4s5YAM+QlnYOPtAr0NJ+tlh5bJgRvGbuOBu1RK/DkKq6ApzR1XrJiWJsPunXjtK
6/ABYEw2bVPZrMRtm+qQZW3B1yUWMUemI6Y3KpAUSI2E9njm6K7S6KCDDVvCCMYx
Rxgldg/sCGXTC93pU+pefWFdelfdPGGyWk8h2ChpfjlMo50j41XCA3cErc4hiyBv
vz6lcUYNLUA8AlYXPQhklbBrMO4cUUvkvqWaKtJZxA==
-----END CERTIFICATE-----
",
    key: "\
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC+rYtmsFKORM60
1D03iD+lvGQ4zAMPPUh3oPG+OKZmdIdpIeLc2O9TiRvhwWtubm/w96BuIMFlhERp
vKAdb4qxCCRM3hNSGfmlU0xMKI4msYGcGJ+q9RcirQbOjpNHxVGURcev+aId+FOv
GKeTTahTSrZXGaXAaH4anijCwKAIyNSyaecZpwwjs/7ACyIsDLCFJl4M0BOv13MQ
qKpQDBFfwYZ7Ir+Jao0eOGLYSy7opb/tcqMpLyFN2qzwE4r3J9gGqGgrx+z7FrXO
f26hiErQ8u4zzEzNA+DTv8yAdPEQrSAk1OvZn+T/77pReFWG1lCpgE2hQsXwM/ou
oD1TOgqfAgMBAAECggEAFU5ZBElxgBoqKsSIbpsX2ZIadMo/EUXcwhlGyeWUmmAs
/U9fBSRsYZ4xcmFlerp2YauZzpR0Z76G0nXUQlXDXpK1U62A5Syn25RaMyxY7fPp
sqKBvN2UDzjcSNpflKZ0viep73zqY4Tq/Oa5WtlTlLMFeugPwFcsuBayIUja2QA+
bcE+FCURh+0BnRahLc0+nFjo9hLXbPjn2jP+C4EO8jFAnuXrWj6UzfoRQB9K9HFE
x0cgA1CbLCmzf0Ebu2oRcHisSXKT0y160IylRk6UjGCqGt+diZr02WdnUtitZjoL
UEVRJUEd9NC65GuIbvOdWhMWljU+D/A0zkfYpTwCCQKBgQDnrLTddphpvbOJAnIR
xCsDS+cTPmvQILlAH28QU9TqCQc/xI2UR69Kfj89ujsIhSmBNpklG6oOwJtlXp0L
XWda2ec1Lf04HDlydoTJkdUtp2YWedILWUkwS0G+vYcs7oQAUvWyqwbfM+BNd5/l
oDBsBvIw+JfLL8SjpEJI6pnGawKBgQDSst4MsyIDO7fnCY3MU6krZw82tKtRGC2W
OF7ktXTE/f8UrruvLxDoEDGqKYuewmylVTbbIatMw/YfpbeyPKowzpKtlgpJRv6d
FKsM/oFWmbBp1WUKABrPJOMgvC6JDqNst5igvl9MjiABdCMCJlcoArXNMCwkItVS
DH6A50rRnQKBgQDGFNJncBkMf9fbUy34psMoBGPD/mDsCK6bdsTdLvAiUinSidmL
aGclyB+GRY5n0IMWKXpzUd3q0x+KYoTfzLKr6RdYTsPsj6VGirMqLPgaGsCcgvfm
ICcFlbLWxPGopx5RsJzGcJhlitNDKP6btITyOFYnLMWMQoFccPsDoSJtlQKBgDlW
uf0Exs3Qc6SpQfCIF/Ka0lYV5sVj6gwGfTSKeSOe58sOHj93dIdi2NExCzECQiTg
QtRxnjd+4L0OESatQbeUj/Azc8srSeEfnckkfbg+jPbQPvXwv1r9892VuKhN1oWg
lSWxiSfBSc57d4d/PZrC2gzj/i87V4hDpC2aRA81AoGAM3/HezwWB2P4U070bLR+
MaEXuzaLb7HjQb5GeLLAbRenrcfcy5CncDm9A2MAu1TJm0lhNRfWASKAb+o4QQFh
VclGnB9ZUBIBGIW0lvOgS7pkVY/14XS2ITk+d0ejU30lUleY4kA98iG2owgxadx5
f5ge5LipAaHUluCGGJapjxQ=
-----END PRIVATE KEY-----
",
};

/// One that has expired on 2020-04-01.
pub const OLD: Pem = Pem {
    certificate: "\
-----BEGIN CERTIFICATE-----
MIIBZTCCAQygAwIBAgIBAjAKBggqhkjOPQQDAjAcMRowGAYDVQQDDBFsb2JieS5l
eGFtcGxlLm9yZzAeFw0yMDAxMDEwMDAwMDBaFw0yMDA0MDEwMDAwMDBaMBwxGjAY
BgNVBAMMEWxvYmJ5LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAEvu3jTEhd2DOCxIUHm5ifSlqoRmoIXiaVAFr1KqbHnS8Zvl0Txq35i/lQhxKf
/ytZOyDKnYrPF5SI7jRvPNYeBKM/MD0wHAYDVR0RBBUwE4IRbG9iYnkuZXhhbXBs
ZS5vcmcwHQYDVR0OBBYEFIEM2f4P5SCFoXzI4k1U/7n20UGwMAoGCCqGSM49BAMC
A0cAMEQCIHvlcHkTxHirV4CoN/fQGJOi7F1rh5HLLM7F0fuacG1BAiAK4vLh/SGe
ED3JbVd2l6Hwf88cqLwOonqoZuF8g7rDpQ==
-----END CERTIFICATE-----
",
    key: "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyH6KmRxxKCOkadWe
1gGriQtFNJvM2xb4pLoCaYpqWwKhRANCAAS+7eNMSF3YM4LEhQebmJ9KWqhGaghe
JpUAWvUqpsedLxm+XRPGrfmL+VCHEp//K1k7IMqdis8XlIjuNG881h4E
-----END PRIVATE KEY-----
",
};
