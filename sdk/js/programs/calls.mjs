// An ES module that makes calls of SDK v3 and knows nothing of the shim.
import { S3Client, S3, CreateBucketCommand, PutObjectCommand, GetObjectCommand, HeadObjectCommand, paginateListObjectsV2 } from '@aws-sdk/client-s3';
import { STSClient, GetCallerIdentityCommand } from '@aws-sdk/client-sts';
import { DynamoDBClient, CreateTableCommand, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { SQSClient, CreateQueueCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';

const config = { endpoint: process.env.ENDPOINT, region: 'eu-central-1', credentials: { accessKeyId: 'AKIAROLECALLTEST', secretAccessKey: 'the-secret', sessionToken: 'the-session-token' }, forcePathStyle: true };
const s3 = new S3Client(config);
await s3.send(new CreateBucketCommand({ Bucket: 'reports', CreateBucketConfiguration: { LocationConstraint: 'eu-central-1' } }));
await s3.send(new PutObjectCommand({ Bucket: 'reports', Key: 'a.csv', Body: 'the-body' }));
for (let at = 0; at < 20; at += 1) await (await s3.send(new GetObjectCommand({ Bucket: 'reports', Key: 'a.csv' }))).Body.transformToString();
await new Promise((resolve, reject) => s3.send(new HeadObjectCommand({ Bucket: 'reports', Key: 'a.csv' }), (error) => (error ? reject(error) : resolve())));
await new S3(config).getObject({ Bucket: 'reports', Key: 'none.csv' }).catch((error) => console.log(error.name));
for await (const page of paginateListObjectsV2({ client: s3 }, { Bucket: 'reports' })) console.log(page.KeyCount);
await getSignedUrl(s3, new GetObjectCommand({ Bucket: 'reports', Key: 'a.csv' }));
const sts = new STSClient(config);
await Promise.all(Array.from({ length: 10 }, () => sts.send(new GetCallerIdentityCommand({}))));
const dynamodb = new DynamoDBClient(config);
await dynamodb.send(new CreateTableCommand({ TableName: 'orders', BillingMode: 'PAY_PER_REQUEST', AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }], KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }] }));
await dynamodb.send(new PutItemCommand({ TableName: 'orders', Item: { id: { S: 'the-value' } } }));
const sqs = new SQSClient(config);
const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: 'jobs' }));
await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: 'the-message' }));
console.log('all done');
process.exit(0);
