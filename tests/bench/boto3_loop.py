"""Resets users in a loop with boto3, as a script would, and prints the seconds that it took.

Arguments: the endpoint, the number of users, the number of threads.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

POOL = "eu-west-1_Bench00001"


def main():
    endpoint, number, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    client = boto3.client(
        "cognito-idp",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
        config=Config(max_pool_connections=threads, retries={"total_max_attempts": 1}),
    )
    started = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        users = (f"boto3-{threads}-{index}@example.com" for index in range(number))
        for _ in pool.map(lambda user: client.admin_reset_user_password(UserPoolId=POOL, Username=user), users):
            pass
    print(time.monotonic() - started)


main()
