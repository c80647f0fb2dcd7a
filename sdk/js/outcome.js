'use strict';
// What became of a call, from status and error code. The vectors are in conformance/calls/outcomes.json.

const DENIED = new Set(['AllAccessDisabled', 'AuthorizationError', 'AuthorizationErrorException', 'Forbidden',
  'ForbiddenException', 'NotAuthorized', 'UnauthorizedAccess', 'UnauthorizedOperation']);
const UNAUTHENTICATED = new Set(['AuthFailure', 'ExpiredToken', 'ExpiredTokenException', 'IncompleteSignature',
  'IncompleteSignatureException', 'InvalidAccessKeyId', 'InvalidClientTokenId', 'InvalidSignatureException',
  'InvalidToken', 'MissingAuthenticationToken', 'MissingAuthenticationTokenException', 'RequestExpired',
  'RequestTimeTooSkewed', 'SignatureDoesNotMatch', 'TokenRefreshRequired', 'UnrecognizedClientException']);
const THROTTLED = new Set(['BandwidthLimitExceeded', 'EC2ThrottledException', 'LimitExceededException',
  'PriorRequestNotComplete', 'ProvisionedThroughputExceededException', 'RequestLimitExceeded', 'RequestThrottled',
  'RequestThrottledException', 'SlowDown', 'Throttling', 'ThrottlingException', 'ThrottledException',
  'TooManyRequestsException', 'TransactionInProgressException']);

/** The code without what some protocols put around it: `com.amazonaws.x#Code:http://…`, `Client.Code`. */
function bareCode(code) {
  return code.slice(code.lastIndexOf('#') + 1).split(':')[0].replace(/^(?:Client|Server)\./, '');
}

/** The class of a call: `done`, `denied`, `throttled`, `unauthenticated`, `failed`, `unanswered` or `unknown`. */
function outcome(status, code) {
  if (code) {
    const bare = bareCode(code);
    if (bare.includes('AccessDenied') || DENIED.has(bare)) return 'denied';
    if (UNAUTHENTICATED.has(bare)) return 'unauthenticated';
    if (THROTTLED.has(bare)) return 'throttled';
  }
  if (!status) return code ? 'unanswered' : 'unknown';
  if (status === 429) return 'throttled';
  if (status === 403 && (!code || code === '403')) return 'denied';
  if (status === 304 || (status < 400 && !code)) return 'done';
  return 'failed';
}

module.exports = { outcome, bareCode };
