import test from 'ava';
import { ApiAddresses } from '../../../../src/kpctl/up/api-addresses.ts';

test('every address of every host counts, and an address is itself', async (t) => {
  const lookedUp: string[] = [];
  const addresses = new ApiAddresses({ hosts: ['api.example', '203.0.113.9', 'fd00::9'] }, async (name) => {
    lookedUp.push(name);
    return ['198.51.100.2', 'fd00::1', '198.51.100.1'];
  });
  t.true(await addresses.refresh());
  t.deepEqual(addresses.now, ['198.51.100.1', '198.51.100.2', '203.0.113.9', 'fd00::1', 'fd00::9']);
  t.deepEqual(lookedUp, ['api.example']);
  t.false(await addresses.refresh());
});

test('a name that cannot be resolved now keeps the addresses that it had', async (t) => {
  let works = true;
  const addresses = new ApiAddresses({ hosts: ['api.example'] }, async () => {
    if (!works) throw new Error('ENOTFOUND');
    return ['198.51.100.1'];
  });
  await addresses.refresh();
  works = false;
  t.false(await addresses.refresh());
  t.deepEqual(addresses.now, ['198.51.100.1']);
});
