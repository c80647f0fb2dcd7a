// Calls of STS: TIMES of them, WAIT ms apart. SABOTAGE names a part of the shim that is made to throw.
if (process.env.SABOTAGE) sabotage(...process.env.SABOTAGE.split(' '));
const { STSClient, GetCallerIdentityCommand } = require('@aws-sdk/client-sts');

function sabotage(file, name, owner) {
  const fail = () => { throw new Error('sabotage'); };
  const exported = require(`../${file}`);
  if (owner) (owner === 'Shim' ? require('../shim').Shim : exported[owner]).prototype[name] = fail;
  else exported[name] = fail;
}

async function main() {
  const sts = new STSClient({ endpoint: process.env.ENDPOINT, region: 'eu-central-1', maxAttempts: 1, credentials: { accessKeyId: 'AKIAROLECALLTEST', secretAccessKey: 'the-secret' } });
  const times = Number(process.env.TIMES || 1);
  for (let at = 0; at < times; at += 1) {
    const result = await sts.send(new GetCallerIdentityCommand({})).then((answer) => answer.Account, (error) => error.name);
    console.log(result);
    if (process.env.STOP_AFTER_CALL) process.kill(process.pid, 'SIGKILL');
    if (process.env.WAIT) await new Promise((resolve) => setTimeout(resolve, Number(process.env.WAIT)));
  }
}
main();
