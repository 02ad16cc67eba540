"""Addresses of PostgreSQL databases."""

import pytest

from jobworker_gateway.archive import postgres_address


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://jobs@db.example.org/jobs",
        "postgres://jobs:p%40ss%2Fw?rd@db1:5432,db2/jobs?options=-c%20a%3Db@c/d",
        "postgresql://%2Frun%2Fpostgresql/jobs?user=jobs&password=p@ss/w@rd",
        "postgresql://jobs:p@[::1]:5432/jobs%40home?sslmode=verify-full",
    ],
)
def test_an_address_with_an_escaped_password_is_accepted(address: str) -> None:
    postgres_address.parameters(address)
