"""Asks who it is and, where BUCKET is set, writes and reads one object.

The credentials come from the SDK's own default chain: nothing here says where they are.
"""

import argparse
import json
import os
import sys
import time

import boto3

OBJECT = "practice/python.txt"


def ask(session, sts, s3, bucket):
    caller = sts.get_caller_identity()
    if s3:
        written = caller["Arn"].encode()
        s3.put_object(Bucket=bucket, Key=OBJECT, Body=written)
        if s3.get_object(Bucket=bucket, Key=OBJECT)["Body"].read() != written:
            raise RuntimeError(f"`{OBJECT}` in `{bucket}` is not what was written")
    line = {
        "client": "python",
        "account": caller["Account"],
        "arn": caller["Arn"],
        "access_key_id": session.get_credentials().get_frozen_credentials().access_key,
        "bucket": bucket,
        "object": OBJECT if s3 else None,
    }
    print(json.dumps(line), flush=True)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--repeat", type=int, default=1)
    options.add_argument("--every", type=int, default=0, help="milliseconds")
    chosen = options.parse_args()
    bucket = os.environ.get("BUCKET") or None
    try:
        session = boto3.Session()
        sts = session.client("sts")
        s3 = session.client("s3") if bucket else None
        for left in range(chosen.repeat, 0, -1):
            ask(session, sts, s3, bucket)
            if left > 1:
                time.sleep(chosen.every / 1000)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
