import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { isIPv4 } from 'node:net';

/** A key and a self-signed certificate, as PEM. */
export interface ServerCertificate {
  readonly key: string;
  readonly certificate: string;
}

/**
 * A self-signed certificate for a server with these names (IPv4 addresses or DNS names), valid from yesterday for a
 * year: RFC 5280 in DER, P-256 with SHA-256. It is its own authority, for a kubeconfig's certificate-authority-data.
 */
export function selfSigned(commonName: string, names: readonly string[]): ServerCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = sequence(element(SET, sequence(oid('550403'), element(UTF8_STRING, Buffer.from(commonName)))));
  const algorithm = sequence(oid('2a8648ce3d040302')); // ecdsa-with-SHA256
  const serial = randomBytes(16);
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f); // positive, and not shortened
  const now = Date.now();
  const alternatives = names.map((one) =>
    isIPv4(one) ? element(0x87, Buffer.from(one.split('.').map(Number))) : element(0x82, Buffer.from(one)),
  );
  const extensions = [
    sequence(oid('551d13'), boolean, element(OCTET_STRING, sequence(boolean))), // basicConstraints, critical: cA
    sequence(oid('551d11'), element(OCTET_STRING, sequence(...alternatives))), // subjectAltName
  ];
  const body = sequence(
    element(0xa0, element(INTEGER, Buffer.from([2]))), // version 3
    element(INTEGER, serial),
    algorithm,
    name,
    sequence(time(now - DAY), time(now + 365 * DAY)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    element(0xa3, sequence(...extensions)),
  );
  const signature = element(BIT_STRING, Buffer.concat([Buffer.from([0]), sign('sha256', body, privateKey)]));
  const base64 = sequence(body, algorithm, signature)
    .toString('base64')
    .replaceAll(/.{64}(?=.)/g, '$&\n');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
  };
}

const DAY = 86_400_000;
// Tags of X.690.
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const SEQUENCE = 0x30;
const SET = 0x31;

const boolean = Buffer.from([0x01, 0x01, 0xff]);

/** Tag, length, value (X.690 section 8.1). */
function element(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function sequence(...contents: readonly Buffer[]): Buffer {
  return element(SEQUENCE, ...contents);
}

/** `hex`: the identifier's encoded bytes. */
function oid(hex: string): Buffer {
  return element(OBJECT_IDENTIFIER, Buffer.from(hex, 'hex'));
}

function time(milliseconds: number): Buffer {
  const digits = new Date(milliseconds).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return element(UTC_TIME, Buffer.from(digits.slice(2)));
}
