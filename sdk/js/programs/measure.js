'use strict';
// What the shim's own part of a call costs, without SDK and network: begin, and record into a sender that takes all.
const { GetItemCommand } = require('@aws-sdk/client-dynamodb');
const calls = require('../call');
const { Shim } = require('../shim');

const shim = new Shim({ ROLECALL_CALLS_SOCKET: '/nowhere/calls.sock' });
shim.sender = { unsent: '', ready: () => true, offer: () => true };
const client = { config: { serviceId: 'DynamoDB' } };
const headers = { authorization: 'AWS4-HMAC-SHA256 Credential=AKIAROLECALLTEST/20261125/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0' };

function microseconds(times, table) {
  const commands = Array.from({ length: times }, (_, at) => new GetItemCommand({ TableName: table(at), Key: { id: { S: 'x' } } }));
  const began = process.hrtime.bigint();
  for (const command of commands) {
    const call = calls.ofCommand(client, command);
    calls.takeRequest(call, 'dynamodb.eu-central-1.amazonaws.com', headers);
    calls.takeAnswer(call, { httpStatusCode: 200, requestId: 'R1' });
    shim.record(call);
  }
  return Number(process.hrtime.bigint() - began) / 1000 / times;
}

microseconds(50000, () => 'orders');
console.log('repeat', microseconds(200000, () => 'orders').toFixed(2), 'µs');
console.log('new   ', microseconds(50000, (at) => `t${at}`).toFixed(2), 'µs');
