import test from 'ava';
import { podSchema } from '../../../../src/cluster/pods.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { goQuote } from '../../../../src/simulator/files/downward-files.ts';
import { planFiles, volumeContents, type FileReaders, type VolumeContents } from '../../../../src/simulator/files/index.ts';

interface PodParts {
  readonly volumes: readonly object[];
  readonly mounts?: readonly object[];
  readonly spec?: object;
}

function pod({ volumes, mounts = [], spec = {} }: PodParts) {
  return podSchema.parse({
    metadata: { name: 'web-1', namespace: 'shop', labels: { b: '2', a: 'one "two"\n' } },
    spec: {
      containers: [{ name: 'app', resources: { limits: { memory: '64Mi' } }, volumeMounts: mounts }],
      volumes,
      serviceAccountName: 'reader',
      ...spec,
    },
  });
}

const forbidden = new Failure('API_FORBIDDEN', 'secrets "passwords" is forbidden', { remedy: 'ask for the right to get secrets' });

const readers: FileReaders = {
  configMap: (name) =>
    Promise.resolve(name === 'settings' ? { data: { 'app.conf': 'text', other: 'more' }, binaryData: { bytes: 'AP8=' } } : undefined),
  secret: (name) => Promise.resolve(name === 'passwords' ? { data: { password: Buffer.from('s3cret').toString('base64') } } : undefined),
  token: ({ audience, expirationSeconds }) => Promise.resolve(`token for ${audience ?? 'the API'}, ${expirationSeconds ?? '?'} s`),
  trustBundle: ({ name }) => Promise.resolve(name === 'roots' ? 'PEM\n' : undefined),
  allocatable: () => Promise.reject(new Error('nobody may read nodes')),
};

async function contentsOf(volume: object, spec: object = {}, read: Partial<FileReaders> = {}): Promise<VolumeContents> {
  const made = pod({ volumes: [{ name: 'v', ...volume }], mounts: [{ name: 'v', mountPath: '/v' }], spec });
  const plan = planFiles(made, undefined, new Map());
  const [first] = plan.volumes;
  if (first === undefined) throw new Error('no volume');
  return await volumeContents(first, { pod: made, container: plan.container, read: { ...readers, ...read } });
}

/** `path mode text`, in the order of paths. */
function lines({ files }: VolumeContents): string[] {
  return [...files].map(([path, { mode, content }]) => `${path} ${mode.toString(8)} ${content.toString('latin1')}`).toSorted();
}

test('a ConfigMap gives each key, binary ones too; items choose keys, paths and modes', async (t) => {
  t.deepEqual(lines(await contentsOf({ configMap: { name: 'settings' } })), [
    'app.conf 644 text',
    'bytes 644 \u0000\u00ff',
    'other 644 more',
  ]);
  const items = [
    { key: 'app.conf', path: 'deep/er.conf', mode: 0o600 },
    { key: 'bytes', path: 'b' },
  ];
  t.deepEqual(lines(await contentsOf({ configMap: { name: 'settings', defaultMode: 0o440, items } })), [
    'b 440 \u0000\u00ff',
    'deep/er.conf 600 text',
  ]);
});

test('what is optional may be missing, an object or a key; otherwise it is told and left out', async (t) => {
  const none = { files: new Map(), problems: [] };
  t.deepEqual(await contentsOf({ secret: { secretName: 'none', optional: true } }), none);
  t.deepEqual(await contentsOf({ configMap: { name: 'settings', optional: true, items: [{ key: 'none', path: 'x' }] } }), none);
  t.deepEqual((await contentsOf({ secret: { secretName: 'none' } })).problems, ['volume v: Secret none does not exist']);
  const missing = await contentsOf({ configMap: { name: 'settings', items: [{ key: 'none', path: 'x' }] } });
  t.deepEqual(missing, { files: new Map(), problems: ['volume v: ConfigMap settings has no key "none"'] });
});

test('a right that is missing is named, and costs one source of a projected volume only', async (t) => {
  const sources = [{ secret: { name: 'passwords' } }, { configMap: { name: 'settings', items: [{ key: 'other', path: 'o' }] } }];
  const contents = await contentsOf({ projected: { sources } }, {}, { secret: () => Promise.reject(forbidden) });
  t.deepEqual(lines(contents), ['o 644 more']);
  t.deepEqual(contents.problems, [
    'volume v: Secret passwords cannot be read: secrets "passwords" is forbidden; ask for the right to get secrets',
  ]);
});

test('an API that does not answer is no missing file', async (t) => {
  const unreachable = new Failure('API_UNREACHABLE', 'no answer');
  await t.throwsAsync(contentsOf({ secret: { secretName: 'passwords' } }, {}, { secret: () => Promise.reject(unreachable) }), {
    is: unreachable,
  });
});

test('a projected volume has tokens, bundles and the downward API, later sources first', async (t) => {
  const sources = [
    { serviceAccountToken: { path: 'token', expirationSeconds: 3607 } },
    { serviceAccountToken: { path: 'vault', audience: 'vault', expirationSeconds: 900 } },
    { clusterTrustBundle: { name: 'roots', path: 'roots.pem' } },
    { clusterTrustBundle: { name: 'none', path: 'none.pem', optional: true } },
    {
      downwardAPI: {
        items: [
          { path: 'name', fieldRef: { fieldPath: 'metadata.name' } },
          { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' }, mode: 0o400 },
          { path: 'memory', resourceFieldRef: { containerName: 'app', resource: 'limits.memory', divisor: '1Mi' } },
        ],
      },
    },
    { configMap: { name: 'settings', items: [{ key: 'other', path: 'name' }] } },
  ];
  t.deepEqual(lines(await contentsOf({ projected: { sources } })), [
    String.raw`labels 400 a="one \"two\"\n"` + '\nb="2"',
    'memory 644 64',
    'name 644 more',
    'none.pem 644 ',
    'roots.pem 644 PEM\n',
    'token 644 token for the API, 3607 s',
    'vault 644 token for vault, 900 s',
  ]);
  t.deepEqual((await contentsOf({ projected: { sources: [{ podCertificate: {} }] } })).problems, [
    'volume v: its source podCertificate is not imitated',
  ]);
});

test('a group of the pod may read, and a token is private where a user or a group is stated', async (t) => {
  const projected = {
    sources: [
      { serviceAccountToken: { path: 'token' } },
      { secret: { name: 'passwords', items: [{ key: 'password', path: 'p', mode: 0o400 }] } },
    ],
  };
  t.deepEqual(
    lines(await contentsOf({ projected }, { securityContext: { fsGroup: 100 } })).map((line) => line.slice(0, 9)),
    ['p 440 s3c', 'token 640'],
  );
  t.deepEqual(
    lines(await contentsOf({ projected }, { securityContext: { runAsUser: 7 } })).map((line) => line.slice(0, 9)),
    ['p 400 s3c', 'token 600'],
  );
});

test('mounts are planned parents first, what is not imitated is named with its kind, and a subPathExpr is expanded', (t) => {
  const made = pod({
    volumes: [
      { name: 'config', configMap: { name: 'settings' } },
      { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
      { name: 'scratch' },
    ],
    mounts: [
      { name: 'config', mountPath: '/a/b/c' },
      { name: 'data', mountPath: '/data' },
      { name: 'scratch', mountPath: '/a', subPathExpr: 'of-$(NAME)' },
      { name: 'scratch', mountPath: '/b', subPathExpr: '$(NONE)' },
      { name: 'config', mountPath: '/z', subPath: 'app.conf', readOnly: true },
    ],
  });
  const plan = planFiles(made, undefined, new Map([['NAME', 'web']]));
  t.deepEqual(plan.mounts, [
    { path: '/a', volume: 'scratch', subPath: 'of-web', readOnly: false },
    { path: '/z', volume: 'config', subPath: 'app.conf', readOnly: true },
    { path: '/a/b/c', volume: 'config', subPath: '', readOnly: true },
  ]);
  t.deepEqual(plan.notImitated, ['data (persistentVolumeClaim) at /data']);
  t.deepEqual(plan.problems, ['volume scratch at /b is left out: its subPath $(NONE) needs a variable that is not set']);
});

test("text of the downward API is quoted as Go's %q does it", (t) => {
  t.is(goQuote('a\tb\u0001é\u00a0\u{1F600}\u200b'), String.raw`"a\tb\x01é\u00a0` + '\u{1F600}' + String.raw`\u200b"`);
});

test('no path that a cluster names leads out of its volume, nor around its mount point', async (t) => {
  for (const path of ['../up', 'a/../../up', '/etc/cron.d/x', '..data', '']) {
    const items = [{ key: 'app.conf', path }];
    const { files, problems } = await contentsOf({ configMap: { name: 'settings', items } });
    t.deepEqual([...files.keys()], [], path);
    t.deepEqual(problems, [`volume v: the path "${path}" leads out of it`]);
  }
  const keys = await contentsOf({ secret: { secretName: 'odd' } }, {}, { secret: async () => ({ data: { '../x': '' } }) });
  t.deepEqual(keys.problems, ['volume v: the path "../x" leads out of it']);
  const made = pod({
    volumes: [
      { name: 'scratch', emptyDir: {} },
      { name: '../out', emptyDir: {} },
    ],
    mounts: [
      { name: 'scratch', mountPath: '/a', subPath: '../x' },
      { name: 'scratch', mountPath: '/b', subPathExpr: 'of/$(NAME)' },
      { name: 'scratch', mountPath: '/c', subPath: '/etc' },
      { name: '../out', mountPath: '/d' },
      { name: 'scratch', mountPath: '/opt/none/../../srv/here/' },
      { name: 'scratch', mountPath: 'relative' },
    ],
  });
  const plan = planFiles(made, undefined, new Map([['NAME', '../../..']]));
  t.deepEqual(
    plan.mounts.map(({ path }) => path),
    ['/relative', '/srv/here'],
  );
  t.deepEqual(plan.problems, [
    'volume scratch at /a is left out: its subPath ../x leads out of it',
    'volume scratch at /b is left out: its subPath of/../../.. leads out of it',
    'volume scratch at /c is left out: its subPath /etc leads out of it',
    'volume ../out at /d is left out: it is not as expected',
  ]);
});
