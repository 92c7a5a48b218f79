import test from 'ava';
import { certificateCheck } from '../../../../src/kpctl/doctor/checks/certificate.ts';
import { readServing, writeContents, type CertificateContents } from '../../../../src/operator/certificates/contents.ts';
import { issueCertificate } from '../../../../src/operator/certificates/issue.ts';
import { healthy, lines, look, webhook, type Imitation } from './imitation.ts';

const host = 'kpeering-webhook.kpeering-system.svc';
const day = 86_400_000;

/** The Secret's contents with a certificate that is valid for so many days from now. */
async function contents(daysAgo: number, days: number): Promise<CertificateContents> {
  const notBefore = new Date(Date.now() - daysAgo * day);
  const notAfter = new Date(Date.now() + days * day);
  return {
    current: readServing(await issueCertificate({ names: [host], notBefore, notAfter }), host),
    next: undefined,
    previous: undefined,
  };
}

function cluster(secret: CertificateContents | undefined, authority: string | undefined): Imitation {
  const metadata = { name: 'kpeering-webhook-certificate', namespace: 'kpeering-system' };
  return {
    objects: {
      ...healthy.objects,
      mutatingwebhookconfigurations: [webhook(authority)],
      ...(secret !== undefined && { secrets: [{ metadata, data: writeContents(secret) }] }),
    },
  };
}

test('a valid certificate whose authority is trusted', async (t) => {
  const secret = await contents(1, 90);
  const seen = lines(await look(certificateCheck, cluster(secret, secret.current?.authority)));
  t.regex(seen[0] ?? '', /^ok the webhook's certificate is valid until \d{4}-\d\d-\d\d \d\d:\d\d UTC$/);
  t.is(seen[1], 'ok the API server trusts its authority');
});

test('a certificate that has ended, or ends soon without being renewed', async (t) => {
  const ended = await contents(10, -1);
  const [gone] = await look(certificateCheck, cluster(ended, ended.current?.authority));
  t.is(gone?.verdict, 'problem');
  t.regex(gone?.fix ?? '', /delete secret kpeering-webhook-certificate/);
  const soon = await contents(80, 2);
  t.is((await look(certificateCheck, cluster(soon, soon.current?.authority)))[0]?.verdict, 'warning');
});

test('an authority that the API server does not trust is a problem', async (t) => {
  const [one, other] = await Promise.all([contents(1, 90), contents(1, 90)]);
  const trusted = lines(await look(certificateCheck, cluster(one, other.current?.authority)));
  t.is(trusted[1], "problem the caBundle of the webhook's configuration is not the authority of its certificate");
  const both = `${other.current?.authority}${one.current?.authority}`;
  t.is(lines(await look(certificateCheck, cluster(one, both)))[1], 'ok the API server trusts its authority');
  t.regex(lines(await look(certificateCheck, cluster(one, '')))[1] ?? '', /^problem .* has no caBundle/);
});

test('a Secret that is not there, broken, or not to be read', async (t) => {
  const { current } = await contents(1, 90);
  t.regex(lines(await look(certificateCheck, cluster(undefined, current?.authority)))[0] ?? '', /^problem there is no Secret/);
  const broken = cluster({ current: undefined, next: undefined, previous: undefined }, current?.authority);
  t.regex(lines(await look(certificateCheck, broken))[0] ?? '', /^problem .* holds is no certificate/);
  const hidden = lines(await look(certificateCheck, { ...cluster(undefined, current?.authority), hidden: ['secrets'] }));
  t.deepEqual(hidden, [
    'unknown you may not read the Secret kpeering-webhook-certificate in namespace kpeering-system',
    'ok the API server trusts an authority that is valid',
  ]);
});
