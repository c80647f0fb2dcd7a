"""aiobotocore, where it is installed: the same calls from coroutines."""

import asyncio
import unittest

from agent import DENIED, Case

try:
    import aiobotocore.session
    from aiobotocore.awsrequest import AioAWSResponse
except ImportError:
    aiobotocore = None


class Raw:
    def __init__(self, data):
        self.data = data

    async def read(self, *_):
        return self.data


@unittest.skipIf(aiobotocore is None, "aiobotocore is not installed here")
class Async(Case):
    async def get(self, tables, status=200, body=b"{}"):
        session = aiobotocore.session.get_session()
        async with session.create_client("dynamodb") as made:
            answer = lambda request, **_: Answer(request.url, status, {"x-amzn-requestid": "R1"}, body)  # noqa: E731
            made.meta.events.register("before-send", answer)
            await asyncio.gather(
                *(made.get_item(TableName=table, Key={"id": {"S": "canary"}}) for table in tables)
            )

    def test_coroutines_side_by_side_are_told_each_as_itself(self):
        agent = self.agent()
        asyncio.run(self.get(["a", "b", "c", "a"]))
        self.shim.flush()
        agent.wait(lambda: agent.counted() == (4, 0))
        tables = sorted(line["Parameters"]["TableName"][0] for line in agent.of("ApiCall"))
        self.assertEqual(tables, ["a", "a", "b", "c"])
        first = agent.of("ApiCall")[0]
        self.assertEqual(first["AccessKey"], "AKIAIOSFODNN7EXAMPLE")
        self.assertEqual(first["Fqdn"], "dynamodb.eu-central-1.amazonaws.com")
        self.assertNotIn(b"canary", agent.raw)

    def test_a_denial_is_told(self):
        agent = self.agent()
        with self.assertRaises(Exception):
            asyncio.run(self.get(["a"], 400, DENIED))
        agent.wait(lambda: agent.of("ApiCall"))
        self.assertEqual(agent.of("ApiCall")[0]["FinalAwsException"], "AccessDeniedException")

    def test_presigned_urls_are_told(self):
        async def sign():
            async with aiobotocore.session.get_session().create_client("s3") as made:
                await made.generate_presigned_url("get_object", Params={"Bucket": "reports", "Key": "a"})
                await made.generate_presigned_post("reports", "b")

        agent = self.agent()
        asyncio.run(sign())
        agent.wait(lambda: len(agent.of("Presign")) == 2)


if aiobotocore is not None:

    class Answer(AioAWSResponse):
        def __init__(self, url, status, headers, data):
            super().__init__(url, status, headers, Raw(data))
            self.data = data

        async def _content_prop(self):
            return self.data
