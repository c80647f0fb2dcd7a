// Asks who it is and, where BUCKET is set, writes and reads one object.
// The credentials come from the SDK's own default chain: nothing here says where they are.
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";

const OBJECT = "practice/js.txt";
const { values } = parseArgs({
  options: { repeat: { type: "string", default: "1" }, every: { type: "string", default: "0" } },
});

const sts = new STSClient();
const bucket = process.env.BUCKET || null;
// One provider for both clients, as a program with several clients has when it passes one on.
const s3 = bucket ? new S3Client({ credentials: sts.config.credentials }) : null;

async function ask() {
  const caller = await sts.send(new GetCallerIdentityCommand({}));
  const { accessKeyId } = await sts.config.credentials();
  if (s3) {
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key: OBJECT, Body: caller.Arn }));
    const got = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: OBJECT }));
    const text = await got.Body.transformToString();
    if (text !== caller.Arn) throw new Error(`\`${OBJECT}\` in \`${bucket}\` is not what was written`);
  }
  const line = {
    client: "js",
    account: caller.Account,
    arn: caller.Arn,
    access_key_id: accessKeyId,
    bucket,
    object: s3 ? OBJECT : null,
  };
  process.stdout.write(JSON.stringify(line) + "\n");
}

try {
  for (let left = Number(values.repeat); left > 0; left -= 1) {
    await ask();
    if (left > 1) await pause(Number(values.every));
  }
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
