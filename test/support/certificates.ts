import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** PEM text of a certificate and its key. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateAuthority extends Certificate {
  /** A certificate for a server with this DNS name. */
  issue(hostName: string): Certificate;
}

/**
 * A certificate authority of the test's own, so that TLS is tried as on Azure: a chain, and a name to compare. Node makes
 * keys but no certificates; these few fields of X.509 (RFC 5280) are all that is needed.
 */
export function createCertificateAuthority(): CertificateAuthority {
  const name = 'Shardline test authority';
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const root = certificate(name, name, keys.publicKey, keys.privateKey, [CA_CONSTRAINT]);
  return {
    cert: root,
    key: pemOf(keys.privateKey),
    issue: (hostName) => {
      const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const names = extension('2.5.29.17', sequence(tagged(0x82, Buffer.from(hostName))));
      return {
        cert: certificate(hostName, name, own.publicKey, keys.privateKey, [names]),
        key: pemOf(own.privateKey),
      };
    },
  };
}

function pemOf(key: KeyObject): string {
  return String(key.export({ type: 'pkcs8', format: 'pem' }));
}

function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

const sequence = (...parts: readonly Buffer[]): Buffer => tagged(0x30, ...parts);

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 127];
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 127) | 128);
    bytes.push(...groups);
  }
  return tagged(0x06, Buffer.from(bytes));
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(oid(id), tagged(0x04, value));
}

/** "This one may sign others." */
const CA_CONSTRAINT = extension('2.5.29.19', sequence(tagged(0x01, Buffer.from([255]))));
const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

function nameOf(text: string): Buffer {
  return sequence(tagged(0x31, sequence(oid('2.5.4.3'), tagged(0x0c, Buffer.from(text)))));
}

function certificate(
  subject: string,
  issuer: string,
  subjectKey: KeyObject,
  issuerKey: KeyObject,
  extensions: readonly Buffer[],
): string {
  const serial = randomBytes(8);
  serial[0] = 1 + ((serial[0] ?? 0) & 0x3f);
  const validity = ['20200101000000Z', '20991231235959Z'].map((at) =>
    tagged(0x18, Buffer.from(at)),
  );
  const body = sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))),
    tagged(0x02, serial),
    ECDSA_SHA256,
    nameOf(issuer),
    sequence(...validity),
    nameOf(subject),
    subjectKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions)),
  );
  const signature = tagged(0x03, Buffer.from([0]), sign('sha256', body, issuerKey));
  const base64 = sequence(body, ECDSA_SHA256, signature).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
