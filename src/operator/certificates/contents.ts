import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Secret } from '../../cluster/resources.ts';
import type { IssuedCertificate } from './issue.ts';

/** What the Secret of the webhook's certificate holds. What is missing or broken in it is undefined here. */
export interface CertificateContents {
  /** What the replicas serve: `tls.crt`, `tls.key`, and its authority in `ca.crt`. */
  readonly current: ServingCertificate | undefined;
  /** What they will serve once the API servers trust it: the same three with `next-` before their names. */
  readonly next: ServingCertificate | undefined;
  /** The authority of what they served before, which some may serve still: `previous-ca.crt`, PEM. */
  readonly previous: Authority | undefined;
}

export interface ServingCertificate extends IssuedCertificate {
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface Authority {
  /** PEM */
  readonly authority: string;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
}

/** Annotation of the Secret by which an administrator asks for a rotation now, whatever its value: the key may have become known. */
export const ROTATE_ANNOTATION = 'kpeering.io/rotate';

export const noContents: CertificateContents = { current: undefined, next: undefined, previous: undefined };

/** Reads the Secret. What is not a certificate for `name` with its key and its authority counts as missing. */
export function readContents({ data }: Pick<Secret, 'data'>, name: string): CertificateContents {
  const text = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString();
  const triple = (prefix: string): ServingCertificate | undefined =>
    readServing({ certificate: text(`${prefix}tls.crt`), key: text(`${prefix}tls.key`), authority: text(`${prefix}ca.crt`) }, name);
  return { current: triple(''), next: triple('next-'), previous: readAuthority(text('previous-ca.crt')) };
}

/** The Secret's data, in base64; null: not there (any more). */
export function writeContents({ current, next, previous }: CertificateContents): Readonly<Record<string, string | null>> {
  const base64 = (text: string | undefined): string | null => (text === undefined ? null : Buffer.from(text).toString('base64'));
  return {
    'tls.crt': base64(current?.certificate),
    'tls.key': base64(current?.key),
    'ca.crt': base64(current?.authority),
    'next-tls.crt': base64(next?.certificate),
    'next-tls.key': base64(next?.key),
    'next-ca.crt': base64(next?.authority),
    'previous-ca.crt': base64(previous?.authority),
  };
}

/** With its dates; undefined where the three do not belong together or are not for `name`. */
export function readServing(issued: IssuedCertificate, name: string): ServingCertificate | undefined {
  try {
    const certificate = new X509Certificate(issued.certificate);
    const authority = new X509Certificate(issued.authority);
    if (!certificate.verify(authority.publicKey) || !certificate.checkPrivateKey(createPrivateKey(issued.key))) return undefined;
    if (certificate.checkHost(name) === undefined) return undefined;
    return { ...issued, notBefore: certificate.validFromDate.getTime(), notAfter: certificate.validToDate.getTime() };
  } catch {
    return undefined;
  }
}

function readAuthority(pem: string): Authority | undefined {
  try {
    return { authority: pem, notAfter: new X509Certificate(pem).validToDate.getTime() };
  } catch {
    return undefined;
  }
}

/** What the API server is to trust: the authorities of all that is served, was just served, or will be. PEM. */
export function authorityBundle({ current, next, previous }: CertificateContents): string {
  return [...new Set([current?.authority, next?.authority, previous?.authority])].filter((pem) => pem !== undefined).join('');
}
