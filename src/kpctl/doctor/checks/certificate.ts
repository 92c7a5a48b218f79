import { X509Certificate } from 'node:crypto';
import { secrets } from '../../../cluster/resources.ts';
import { readContents, type CertificateContents } from '../../../operator/certificates/contents.ts';
import { CERTIFICATE_SECRET, WEBHOOK_SERVICE } from '../../../operator/names.ts';
import { clusterCheck } from '../examination.ts';
import { ok, problem, unknown, warning, type Seen } from '../finding.ts';
import { visible, type Installation } from '../installation.ts';

const DAY_MILLISECONDS = 86_400_000;
/** The operator renews long before that. */
const SOON_DAYS = 7;

/** The webhook's certificate: whether it is valid, and whether the API server trusts it. */
export const certificateCheck = clusterCheck('certificate', async ({ cluster }, examination, options) => {
  const { webhook, namespace } = await examination.installation();
  const secret = await visible(cluster.get(secrets, CERTIFICATE_SECRET, { namespace, ...options }));
  if (webhook === 'missing') return [];
  const host = `${WEBHOOK_SERVICE}.${namespace}.svc`;
  const contents = typeof secret === 'string' ? undefined : readContents(secret, host);
  const bundle = webhook === 'hidden' ? undefined : trusted(webhook.webhooks);
  return [ofSecret(secret, contents, namespace), ...(bundle === undefined ? [] : ofBundle(bundle, contents))];
});

const fix = 'kpctl logs operator says why; deleting the Secret makes the operator issue a new one: ';

function ofSecret(secret: object | 'missing' | 'hidden', contents: CertificateContents | undefined, namespace: string): Seen {
  const remedy = `${fix}kubectl -n ${namespace} delete secret ${CERTIFICATE_SECRET}`;
  if (secret === 'hidden') return unknown(`you may not read the Secret ${CERTIFICATE_SECRET} in namespace ${namespace}`);
  if (secret === 'missing')
    return problem(`there is no Secret ${CERTIFICATE_SECRET}: the webhook cannot answer`, 'kpctl logs operator says why');
  const current = contents?.current;
  if (current === undefined)
    return problem(`what the Secret ${CERTIFICATE_SECRET} holds is no certificate of the webhook with its key`, remedy);
  const now = Date.now();
  if (current.notAfter <= now) return problem(`the webhook's certificate has ended at ${isoDay(current.notAfter)}`, remedy);
  if (current.notBefore > now)
    return problem(
      `the webhook's certificate begins only at ${isoDay(current.notBefore)}`,
      'see the clocks of this machine and of the nodes',
    );
  if (current.notAfter - now < SOON_DAYS * DAY_MILLISECONDS) {
    return warning(`the webhook's certificate ends at ${isoDay(current.notAfter)}, and is not renewed`, remedy);
  }
  return ok(`the webhook's certificate is valid until ${isoDay(current.notAfter)}`);
}

function ofBundle(bundle: readonly X509Certificate[] | 'broken', contents: CertificateContents | undefined): readonly Seen[] {
  const remedy = 'the operator writes it by itself within a minute: kpctl logs operator says why it does not';
  if (bundle === 'broken')
    return [problem("the webhook's configuration has a caBundle that is no certificate: the API server trusts nobody", remedy)];
  if (bundle.length === 0) return [problem("the webhook's configuration has no caBundle: the API server trusts nobody", remedy)];
  const authority = contents?.current?.authority;
  if (authority === undefined) {
    const valid = bundle.some((certificate) => certificate.validToDate.getTime() > Date.now());
    return valid
      ? [ok('the API server trusts an authority that is valid')]
      : [problem('every authority of the caBundle has ended', remedy)];
  }
  const trusts = bundle.some(({ fingerprint256 }) => fingerprint256 === new X509Certificate(authority).fingerprint256);
  return trusts
    ? [ok('the API server trusts its authority')]
    : [problem("the caBundle of the webhook's configuration is not the authority of its certificate", remedy)];
}

/** The authorities that every entry of the configuration trusts. */
function trusted(webhooks: Exclude<Installation['webhook'], string>['webhooks']): readonly X509Certificate[] | 'broken' {
  const bundles = webhooks.map(({ clientConfig }) => Buffer.from(clientConfig.caBundle ?? '', 'base64').toString());
  try {
    const lists = bundles.map((pem) =>
      (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((one) => new X509Certificate(one)),
    );
    const [first = [], ...others] = lists;
    return first.filter(({ fingerprint256 }) => others.every((list) => list.some((one) => one.fingerprint256 === fingerprint256)));
  } catch {
    return 'broken';
  }
}

function isoDay(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/T(\d\d:\d\d).*$/, ' $1 UTC');
}
