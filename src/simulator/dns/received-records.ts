import type dns2 from 'dns2';
import { CLASS_IN, TYPE } from './message.ts';
import type { ResourceRecord } from './message.ts';
import { canonicalAddress } from './records.ts';

/** What somebody else's answer holds of the records that an answer of ours may have; others are left out. */
export function asRecords(received: readonly dns2.Packet.Resource[]): ResourceRecord[] {
  return received.flatMap((record) => {
    const known = record.class === CLASS_IN ? asRecord(record) : undefined;
    return known === undefined ? [] : [known];
  });
}

function asRecord(received: dns2.Packet.Resource): ResourceRecord | undefined {
  const { type, name, ttl, address, domain, ns, data, target, priority, weight, port } = received;
  const base = { name, class: CLASS_IN, ttl };
  switch (type) {
    case TYPE.A:
    case TYPE.AAAA:
      return address === undefined ? undefined : { ...base, type, address: canonicalAddress(address) };
    case TYPE.CNAME:
    case TYPE.PTR:
      return domain === undefined ? undefined : { ...base, type, domain };
    case TYPE.NS:
      return ns === undefined ? undefined : { ...base, type, ns };
    case TYPE.TXT:
      return Array.isArray(data) ? { ...base, type, data } : undefined;
    case TYPE.SRV:
      if (target === undefined || priority === undefined || weight === undefined || port === undefined) return undefined;
      return { ...base, type, target, priority, weight, port };
    case TYPE.SOA:
      return soaRecord(base, received);
    default:
      return undefined;
  }
}

function soaRecord(
  base: { readonly name: string; readonly class: typeof CLASS_IN; readonly ttl: number },
  { primary, admin, serial, refresh, retry, expiration, minimum }: dns2.Packet.Resource,
): ResourceRecord | undefined {
  if (primary === undefined || admin === undefined || serial === undefined || refresh === undefined) return undefined;
  if (retry === undefined || typeof expiration !== 'number' || minimum === undefined) return undefined;
  return { ...base, type: TYPE.SOA, primary, admin, serial, refresh, retry, expiration, minimum };
}
