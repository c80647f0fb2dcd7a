'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const test = require('node:test');
const { byName, byForm, isTold } = require('../redact');
const { outcome } = require('../outcome');
const { operationOf, keyOf, told } = require('../parameters');
const { ofOperation } = require('../shape');

const conformance = path.join(__dirname, '../../../conformance/calls');
const cases = (name) => JSON.parse(fs.readFileSync(path.join(conformance, name), 'utf8')).cases;

test('the rules are those of the repository, byte for byte', () => {
  assert.deepStrictEqual(fs.readFileSync(path.join(__dirname, '../rules.json')), fs.readFileSync(path.join(conformance, 'rules.json')));
});
for (const c of cases('redaction.json')) test(`redaction: ${c.name}`, () => {
  const marker = byName(c.service, c.path, false) || byForm(c.value);
  assert.strictEqual(marker, c.kind && `<redacted ${c.kind}>`);
  if (c.kind === null) assert.ok(isTold(c.path));
});
for (const c of cases('outcomes.json')) test(`outcome: ${c.name}`, () => assert.strictEqual(outcome(c.status, c.code), c.outcome));

test('the input of a real command is told by the path of its model', () => {
  const { TransactWriteItemsCommand } = require('@aws-sdk/client-dynamodb');
  const command = new TransactWriteItemsCommand({ TransactItems: [{ Put: { TableName: 'a', Item: { id: { S: 'x' } } } }, { Put: { TableName: 'b', Item: { id: { S: 'y' } } } }] });
  const root = operationOf('DynamoDB', command.schema[2], () => ofOperation(command.schema));
  const key = keyOf(root, command.input);
  assert.deepStrictEqual(told(), {
    'TransactItems[].Put.TableName': ['a', 'b'],
    'TransactItems[].Put.Item{}': ['<redacted database-value>'],
    'TransactItems[].Put.Item{}.S': ['<redacted database-value>'],
  });
  assert.strictEqual(keyOf(root, command.input), key);
});
