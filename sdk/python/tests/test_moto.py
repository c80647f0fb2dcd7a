"""The real boto3 against moto: clients, resources, paginators, waiters, transfers, an error."""

import os
import socket
import subprocess
import tempfile
import time

from agent import Case

import boto3


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Moto(Case):
    @classmethod
    def setUpClass(cls):
        server = os.environ.get("ROLECALL_MOTO")
        if not server:
            raise AssertionError("ROLECALL_MOTO is not set: it is the path of moto_server, of the package moto[server]")
        port = free_port()
        cls.url = "http://127.0.0.1:%d" % port
        cls.log = tempfile.TemporaryFile()
        environ = dict(os.environ, ROLECALL_CALLS="off")
        cls.server = subprocess.Popen([server, "-H", "127.0.0.1", "-p", str(port)], stdout=cls.log, stderr=cls.log, env=environ)
        cls.addClassCleanup(cls.stop)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("moto_server does not listen")

    @classmethod
    def stop(cls):
        cls.server.terminate()
        cls.server.wait(10)
        cls.log.close()

    def setUp(self):
        super().setUp()
        self.heard = self.agent()

    def of(self, api, times=1):
        """The lines about an operation, once they stand for so many calls."""
        self.shim.flush()

        def lines():
            return [line for line in self.heard.of("ApiCall") if line["Api"] == api]

        self.heard.wait(lambda: sum(line.get("Count", 1) for line in lines()) >= times)
        return lines()

    def made(self, what, service):
        return getattr(boto3, what)(service, endpoint_url=self.url)

    def test_s3_with_transfers_a_paginator_a_waiter_and_an_error(self):
        s3 = self.made("client", "s3")
        s3.create_bucket(Bucket="reports", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        s3.get_waiter("bucket_exists").wait(Bucket="reports")
        name = os.path.join(self.folder, "file")
        with open(name, "wb") as file:
            file.write(b"canary-body")
        s3.upload_file(name, "reports", "a/b.csv", ExtraArgs={"Metadata": {"owner": "canary-owner"}})
        s3.download_file("reports", "a/b.csv", name + "2")
        with open(name + "2", "rb") as file:
            self.assertEqual(file.read(), b"canary-body")
        self.made("resource", "s3").Object("reports", "c").put(Body=b"canary-object")
        pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="reports", PaginationConfig={"PageSize": 1}))
        self.assertEqual(len(pages), 2)
        s3.copy_object(Bucket="reports", Key="d", CopySource={"Bucket": "reports", "Key": "c"})
        with self.assertRaises(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket="reports", Key="none")

        put = [line["Parameters"]["Key"] for line in self.of("PutObject", 2)]
        self.assertEqual(put, [["a/b.csv"], ["c"]])
        self.assertEqual(self.of("CopyObject")[0]["Parameters"]["CopySource"], ["reports/c"])
        self.assertEqual(sum(line.get("Count", 1) for line in self.of("ListObjectsV2", 2)), 2)
        self.assertEqual(self.of("HeadBucket")[0]["Service"], "S3")
        error = self.of("GetObject")[-1]
        self.assertEqual((error["FinalHttpStatusCode"], error["FinalAwsException"]), (404, "NoSuchKey"))
        self.assertEqual((error["Fqdn"], error["Region"]), ("127.0.0.1", "eu-central-1"))
        self.assertTrue(error.get("XAmzRequestId") or error.get("XAmznRequestId"))
        self.assertNotIn(b"canary", self.heard.raw)

    def test_dynamodb_with_a_resource_whose_values_are_pythons_own(self):
        table = self.made("resource", "dynamodb").create_table(
            TableName="orders", BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )  # fmt: skip
        table.wait_until_exists()
        with table.batch_writer() as batch:
            for number in range(30):
                batch.put_item(Item={"id": "canary-%d" % number})
        from boto3.dynamodb.conditions import Key

        self.assertEqual(table.query(KeyConditionExpression=Key("id").eq("canary-1"))["Count"], 1)
        query = self.of("Query")[0]
        self.assertEqual(query["Service"], "DynamoDB")
        self.assertEqual(query["Parameters"]["KeyConditionExpression"], ["#n0 = :v0"])
        self.assertEqual(query["Parameters"]["ExpressionAttributeValues{}.S"], ["<redacted database-value>"])
        self.assertEqual(self.of("BatchWriteItem")[0]["Parameters"]["RequestItems{}"], ["orders"])
        self.assertNotIn(b"canary", self.heard.raw)

    def test_sqs_and_sts(self):
        sqs = self.made("client", "sqs")
        queue = sqs.create_queue(QueueName="orders")["QueueUrl"]
        for _ in range(5):
            sqs.send_message(QueueUrl=queue, MessageBody="canary-message")
        sts = self.made("client", "sts")
        sts.get_caller_identity()
        sts.assume_role(RoleArn="arn:aws:iam::111122223333:role/orders", RoleSessionName="session", TokenCode="999999",
                        SerialNumber="arn:aws:iam::111122223333:mfa/alice")  # fmt: skip
        sent = self.of("SendMessage", 5)
        self.assertEqual(sum(line.get("Count", 1) for line in sent), 5)
        self.assertEqual(sent[0]["Parameters"], {"MessageBody": ["<redacted message>"], "QueueUrl": [queue]})
        role = self.of("AssumeRole")[0]
        self.assertEqual(role["Parameters"]["TokenCode"], ["<redacted mfa-code>"])
        self.assertEqual(role["Parameters"]["RoleArn"], ["arn:aws:iam::111122223333:role/orders"])
        self.assertEqual(self.of("GetCallerIdentity")[0]["AccessKey"], "AKIAIOSFODNN7EXAMPLE")
        self.assertNotIn(b"canary", self.heard.raw)
        self.assertNotIn(b"999999", self.heard.raw)
