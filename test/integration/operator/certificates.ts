import { readServing, type ServingCertificate } from '../../../src/operator/certificates/contents.ts';
import { issueCertificate } from '../../../src/operator/certificates/issue.ts';

export const webhookName = 'kpeering-webhook.kpeering-system.svc';

/** A certificate for {@link webhookName} with an authority of its own, good for an hour. */
export async function issueServing(): Promise<ServingCertificate> {
  const now = Date.now();
  const issued = await issueCertificate({ names: [webhookName], notBefore: new Date(now - 60_000), notAfter: new Date(now + 3_600_000) });
  const serving = readServing(issued, webhookName);
  if (serving === undefined) throw new Error('a certificate that cannot be served');
  return serving;
}
