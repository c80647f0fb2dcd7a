// A command whose input throws at the first look and not again.
const { STSClient, GetCallerIdentityCommand } = require('@aws-sdk/client-sts');

const sts = new STSClient({ endpoint: process.env.ENDPOINT, region: 'eu-central-1', credentials: { accessKeyId: 'AKIAROLECALLTEST', secretAccessKey: 'the-secret' } });
const command = new GetCallerIdentityCommand({});
let looked = false;
command.input = new Proxy({}, {
  getPrototypeOf() {
    if (!looked) {
      looked = true;
      throw new Error('not you');
    }
    return Object.prototype;
  },
});
sts.send(command).then((answer) => console.log(answer.Account), (error) => console.log(error));
