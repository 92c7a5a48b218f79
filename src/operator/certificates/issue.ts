import type { webcrypto } from 'node:crypto';
import { provideReflectMetadata } from './reflect-metadata.ts';

/** A serving certificate, its key, and the authority that has signed it; PEM. */
export interface IssuedCertificate {
  readonly authority: string;
  readonly certificate: string;
  /** PKCS #8 */
  readonly key: string;
}

export interface IssueOptions {
  /** DNS names that the certificate is for. */
  readonly names: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/**
 * Makes an authority and one serving certificate by it (P-256, RFC 5280). The authority's key is forgotten: nobody can sign another certificate
 * that the API server would trust, and every rotation is one of both.
 */
export async function issueCertificate({ names, notBefore, notAfter }: IssueOptions): Promise<IssuedCertificate> {
  provideReflectMetadata();
  // Only the leader needs it, and seldom.
  const x509 = await import('@peculiar/x509');
  const [authorityKeys, keys] = await Promise.all([makeKeys(), makeKeys()]);
  const validity = { notBefore, notAfter, signingAlgorithm: algorithm };
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    // Two authorities with the same name and other keys would confuse who looks for the issuer by its name.
    name: `CN=kpeering webhook ${notBefore.toISOString()}, O=kpeering`,
    keys: authorityKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(authorityKeys.publicKey),
    ],
  });
  const certificate = await x509.X509CertificateGenerator.create({
    ...validity,
    subject: 'O=kpeering',
    issuer: authority.subject,
    publicKey: keys.publicKey,
    signingKey: authorityKeys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value }))),
      await x509.AuthorityKeyIdentifierExtension.create(authorityKeys.publicKey),
    ],
  });
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  return { authority: `${authority.toString('pem')}\n`, certificate: `${certificate.toString('pem')}\n`, key: `${key}\n` };
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}
