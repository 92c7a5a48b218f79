import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireProgram } from '../../../src/platform/programs.ts';

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  readonly ca: string;
  /** For 127.0.0.1 and the name `api.test`. */
  readonly server: Pair;
  /** For the name `other.test` only. */
  readonly otherName: Pair;
  /** CN=alice */
  readonly client: Pair;
}

/** A certificate authority and what it signed, made by openssl; nothing of it stays on disk. */
export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'kpeering-certificates-'));
  const openssl = requireProgram('openssl', 'openssl');
  const run = (...args: string[]): void => void execFileSync(openssl, args, { cwd: folder, stdio: 'pipe' });
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const sign = (name: string, subject: string, extension: string): Pair => {
    writeFileSync(join(folder, `${name}.ext`), extension);
    run('req', '-new', ...newKey, '-subj', subject, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    run(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}.crt`,
    );
    return { cert: read(`${name}.crt`), key: read(`${name}.key`) };
  };
  try {
    run('req', '-x509', ...newKey, '-subj', '/CN=test-ca', '-days', '2', '-keyout', 'ca.key', '-out', 'ca.crt');
    return {
      ca: read('ca.crt'),
      server: sign('server', '/CN=api', 'subjectAltName=IP:127.0.0.1,DNS:api.test'),
      otherName: sign('other', '/CN=other', 'subjectAltName=DNS:other.test'),
      client: sign('client', '/CN=alice', 'extendedKeyUsage=clientAuth'),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const base64 = (text: string): string => Buffer.from(text).toString('base64');
