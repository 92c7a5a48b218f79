import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import { CertificateKeeper } from '../../../../src/operator/certificates/keeper.ts';
import { CertificateStore } from '../../../../src/operator/certificates/store.ts';
import { silentLogger } from '../../../../src/platform/log.ts';
import { ImitatedApi } from '../imitated-api.ts';

const namespace = 'kpeering-system';
const secretKey = `secrets/${namespace}/kpeering-webhook-certificate`;
const configurationKey = 'mutatingwebhookconfigurations//kpeering';
const DAY = 86_400_000;

interface Stage {
  readonly api: ImitatedApi;
  readonly store: CertificateStore;
}

/** An API with our Deployment, without replicas, and our webhook's configuration; and a keeper at work. */
async function stage(t: ExecutionContext, spreadMilliseconds: number): Promise<Stage> {
  const api = new ImitatedApi();
  const selector = { matchLabels: { app: 'kpeering' } };
  api.put(`deployments/${namespace}/kpeering-operator`, {
    metadata: { name: 'kpeering-operator', namespace },
    spec: { selector, template: { spec: { containers: [] } } },
  });
  api.put(configurationKey, {
    metadata: { name: 'kpeering' },
    webhooks: [
      { name: 'pod', clientConfig: {} },
      { name: 'namespace', clientConfig: {} },
    ],
  });
  const store = await CertificateStore.open(api.cluster, namespace, silentLogger);
  const keeper = await CertificateKeeper.start({
    cluster: api.cluster,
    namespace,
    store,
    port: 1,
    ownerReferences: [],
    log: silentLogger,
    times: { lifetimeMilliseconds: 90 * DAY, spreadMilliseconds },
  });
  t.teardown(async () => {
    await keeper.close();
    await store.close();
  });
  return { api, store };
}

const bundlesSchema = z.object({ webhooks: z.array(z.object({ clientConfig: z.object({ caBundle: z.string().optional() }) })) });

function bundles(api: ImitatedApi): readonly string[] {
  const { webhooks } = bundlesSchema.parse(api.objects.get(configurationKey));
  return webhooks.map(({ clientConfig }) => Buffer.from(clientConfig.caBundle ?? '', 'base64').toString());
}

test('it makes the certificate and the trust in it, and both are kept', async (t) => {
  const { api, store } = await stage(t, 0);
  await api.until(() => store.serving !== undefined && bundles(api).every((bundle) => bundle === store.serving?.authority));
  t.deepEqual(api.writes.toSorted(), [`create ${secretKey}`, `patch ${configurationKey}`]);
  const first = store.serving;

  api.put(configurationKey, { metadata: { name: 'kpeering' }, webhooks: [{ name: 'pod', clientConfig: {} }] });
  await api.until(() => bundles(api)[0] === first?.authority);

  api.remove(secretKey);
  await api.until(() => api.objects.has(secretKey));
  t.is(store.contents.current?.certificate, first?.certificate);

  api.put(secretKey, { metadata: { name: 'kpeering-webhook-certificate' }, data: { 'tls.crt': 'bm9uc2Vuc2U=' } });
  await api.until(() => store.contents.current !== undefined);
  t.is(store.contents.current?.certificate, first?.certificate);
});

test('a rotation trusts the new one first, then serves it, then forgets the old one', async (t) => {
  const { api, store } = await stage(t, 20);
  await api.until(() => store.serving !== undefined && bundles(api).every((bundle) => bundle === store.serving?.authority));
  const old = store.serving;
  const secret = api.objects.get(secretKey);
  const seen: string[] = [];
  const look = (): void => {
    const { current, next, previous } = store.contents;
    const trusted = bundles(api)[0] ?? '';
    if (current !== undefined && !trusted.includes(current.authority)) seen.push('served without trust');
    const state = [
      current === undefined ? 'none' : current.certificate === old?.certificate ? 'old' : 'new',
      next && 'next',
      previous && 'previous',
    ];
    const name = state.filter(Boolean).join(' ');
    if (seen.at(-1) !== name) seen.push(name);
  };
  api.onChange(look);
  api.put(secretKey, { ...secret, metadata: { name: 'kpeering-webhook-certificate', annotations: { 'kpeering.io/rotate': 'now' } } });
  await api.until(() => seen.at(-1) === 'new' && bundles(api).every((bundle) => bundle === store.serving?.authority));
  t.deepEqual(seen, ['old', 'old next', 'new previous', 'new']);
  t.not(store.serving?.certificate, old?.certificate);
  t.is(store.secret?.metadata.annotations['kpeering.io/rotate'], undefined);
});

test('an API that is down for a while only delays it', async (t) => {
  const { api, store } = await stage(t, 0);
  await api.until(() => bundles(api).every((bundle) => bundle !== '' && bundle === store.serving?.authority));
  api.down = true;
  const again = api.attempted();
  api.put(configurationKey, { metadata: { name: 'kpeering' }, webhooks: [{ name: 'pod', clientConfig: {} }] });
  await again;
  api.down = false;
  await api.until(() => bundles(api)[0] === store.serving?.authority);
  t.pass();
});
