"""The errata of the source notes, measured: what was printed, and the library, beside a reference.

`docs/errata.toml` says what each erratum is; the modules here measure those that can be measured;
`scripts/errata.py` writes both into `docs/errata.md`.
"""
