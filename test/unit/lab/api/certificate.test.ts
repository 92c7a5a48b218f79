import test from 'ava';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { selfSigned } from '../../../../src/lab/api/certificate.ts';

test('a self-signed certificate for addresses and names, of the key that comes with it', (t) => {
  const { key, certificate } = selfSigned('lab', ['127.0.0.1', 'kubernetes.default.svc']);
  const parsed = new X509Certificate(certificate);
  t.true(parsed.verify(parsed.publicKey));
  t.true(parsed.checkPrivateKey(createPrivateKey(key)));
  t.true(parsed.ca);
  t.is(parsed.checkIP('127.0.0.1'), '127.0.0.1');
  t.is(parsed.checkHost('kubernetes.default.svc'), 'kubernetes.default.svc');
  t.is(parsed.checkIP('127.0.0.2'), undefined);
  t.true(parsed.validFromDate.getTime() < Date.now() && parsed.validToDate.getTime() > Date.now());
});
