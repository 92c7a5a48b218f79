import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { authorityBundle, readContents, readServing, writeContents } from '../../../../src/operator/certificates/contents.ts';
import { issueCertificate } from '../../../../src/operator/certificates/issue.ts';

const name = 'kpeering-webhook.kpeering-system.svc';
const notBefore = new Date('2026-01-01T00:00:00Z');
const notAfter = new Date('2026-04-01T00:00:00Z');

test('an issued certificate is for its name, and signed by an authority that can sign nothing else', async (t) => {
  const issued = await issueCertificate({ names: [name], notBefore, notAfter });
  const certificate = new X509Certificate(issued.certificate);
  const authority = new X509Certificate(issued.authority);
  t.true(certificate.checkIssued(authority));
  t.true(certificate.verify(authority.publicKey));
  t.is(certificate.checkHost(name), name);
  t.is(certificate.checkHost('kpeering-webhook.other.svc'), undefined);
  t.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1']);
  t.deepEqual([authority.ca, certificate.ca], [true, false]);
  t.deepEqual([certificate.validFromDate, certificate.validToDate], [notBefore, notAfter]);
});

test('two authorities do not have the same name: who looks for an issuer by its name finds one', async (t) => {
  const one = await issueCertificate({ names: [name], notBefore, notAfter });
  const other = await issueCertificate({ names: [name], notBefore: new Date(notBefore.getTime() + 1000), notAfter });
  t.not(new X509Certificate(one.authority).subject, new X509Certificate(other.authority).subject);
});

test('what is written to the Secret is what is read from it', async (t) => {
  const one = readServing(await issueCertificate({ names: [name], notBefore, notAfter }), name);
  const other = readServing(await issueCertificate({ names: [name], notBefore, notAfter }), name);
  if (one === undefined || other === undefined) return t.fail();
  const contents = { current: one, next: other, previous: { authority: one.authority, notAfter: one.notAfter } };
  t.deepEqual(readContents({ data: stringsOf(writeContents(contents)) }, name), contents);
  t.is(authorityBundle(contents), one.authority + other.authority);
  const alone = { current: one, next: undefined, previous: undefined };
  t.deepEqual(readContents({ data: stringsOf(writeContents(alone)) }, name), alone);
});

test('a Secret whose parts do not belong together has no certificate', async (t) => {
  const one = await issueCertificate({ names: [name], notBefore, notAfter });
  const other = await issueCertificate({ names: [name], notBefore, notAfter });
  t.is(readServing({ ...one, key: other.key }, name), undefined);
  t.is(readServing({ ...one, authority: other.authority }, name), undefined);
  t.is(readServing({ ...one, certificate: 'nonsense' }, name), undefined);
  t.is(readServing(one, 'kpeering-webhook.elsewhere.svc'), undefined);
  t.deepEqual(readContents({ data: {} }, name), { current: undefined, next: undefined, previous: undefined });
});

function stringsOf(data: Readonly<Record<string, string | null>>): Record<string, string> {
  return Object.fromEntries(Object.entries(data).flatMap(([key, value]) => (value === null ? [] : [[key, value]])));
}
