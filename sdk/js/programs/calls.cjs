// The same from CommonJS, with both generations of the SDK in one process.
const { STSClient, GetCallerIdentityCommand } = require('@aws-sdk/client-sts');
const S3 = require('aws-sdk/clients/s3');

async function main() {
  const config = { endpoint: process.env.ENDPOINT, region: 'eu-central-1', credentials: { accessKeyId: 'AKIAROLECALLTEST', secretAccessKey: 'the-secret', sessionToken: 'the-session-token' } };
  const sts = new STSClient(config);
  for (let at = 0; at < 3; at += 1) await sts.send(new GetCallerIdentityCommand({}));
  const s3 = new S3({ ...config, s3ForcePathStyle: true, maxRetries: 0 });
  await s3.createBucket({ Bucket: 'old-reports' }).promise();
  await s3.putObject({ Bucket: 'old-reports', Key: 'a.csv', Body: 'the-body' }).promise();
  for (let at = 0; at < 5; at += 1) await new Promise((resolve, reject) => s3.getObject({ Bucket: 'old-reports', Key: 'a.csv' }, (error) => (error ? reject(error) : resolve())));
  await s3.getObject({ Bucket: 'old-reports', Key: 'none.csv' }).promise().catch((error) => console.log(error.code));
  console.log('all done');
}
main();
