import test from 'ava';
import { redactObject } from '../../../../src/kpctl/gather/redact-object.ts';
import { REDACTED, redactText } from '../../../../src/kpctl/gather/redact-text.ts';

const secret = 'hunter2-S3cr3t';
const jwt = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ';

/** Each a log line with the secret in it. */
const lines: readonly string[] = [
  `Authorization: Bearer ${secret}`,
  `authorization=Basic ${secret}`,
  `"authorization":["Bearer ${secret}"]`,
  `{"headers":{"Authorization":"Bearer ${secret}"}}`,
  `{\\"authorization\\":\\"Bearer ${secret}\\"}`,
  `sent bearer ${secret} to the server`,
  `password=${secret}`,
  `PGPASSWORD='${secret}'`,
  `DB_PASSWORD: ${secret}`,
  `password = "${secret} with blanks"`,
  `{"db":{"password":"${secret}","port":5432}}`,
  `{"msg":"{\\"token\\":\\"${secret}\\"}"}`,
  `?access_token=${secret}&page=2`,
  `x-api-key: ${secret}`,
  `client_secret=>${secret}`,
  `aws_secret_access_key = ${secret}`,
  `Cookie: session=${secret}; theme=dark; other=${secret}`,
  `Set-Cookie: sid=${secret}; Path=/`,
  `postgres://ada:${secret}@10.0.0.7:5432/shop`,
  `https://${secret}@github.example/x.git`,
  `amqp://user:p@${secret}@mq:5672`,
  `mysqldump --password ${secret} --host db`,
  `curl --token=${secret}`,
  `-----BEGIN RSA PRIVATE KEY-----\n${secret}\n-----END RSA PRIVATE KEY-----`,
  `-----BEGIN PRIVATE KEY-----\\n${secret}\\n and the end is missing`,
  `AccountKey=${secret};EndpointSuffix=core.windows.net`,
  `{"name":"DB_PASSWORD","value":"${secret}"}`,
  `{\\"name\\":\\"DB_PASSWORD\\",\\"value\\":\\"${secret}\\"}`,
  `- name: DB_PASSWORD\n  value: ${secret}\n`,
  `["--password","${secret}"]`,
  `"passwords": ["${secret}", "${secret}"]`,
  `{"X-Api-Key":["${secret}"]}`,
  `{"password":{"value":"${secret}"}}`,
  `password: |-\n  first line\n  ${secret}\nnext: 1`,
  `Driver=x;PWD={a;${secret}};Database=shop`,
  `password=ab,${secret}`,
  `postgres://ada:p/${secret}@10.0.0.7:5432/shop`,
  `ada:${secret}@tcp(10.0.0.7:3306)/shop`,
  `curl -u ada:${secret} http://web/`,
  `https://x.blob.example/?sv=1&sig=${secret}&se=2`,
  `-----BEGIN PGP PRIVATE KEY BLOCK-----\n${secret}\n-----END PGP PRIVATE KEY BLOCK-----`,
  `client-key-data: ${Buffer.from('-----BEGIN RSA PRIVATE KEY-----').toString('base64')}${secret}`,
  `dbPass: ${secret}`,
];

test('secrets in log lines are taken out', (t) => {
  for (const line of lines) {
    const redacted = redactText(line);
    t.false(redacted.includes(secret), `${line} → ${redacted}`);
    t.true(redacted.includes(REDACTED), line);
  }
  for (const token of [jwt, `AKIA${'A1'.repeat(8)}`, `ghp_${'a'.repeat(36)}`, `xoxb-${'1'.repeat(12)}`]) {
    t.is(redactText(`got ${token}, thanks`), `got ${REDACTED}, thanks`);
  }
});

test('what is around a secret stays, and JSON stays JSON', (t) => {
  t.is(redactText(`{"db":{"password":"${secret}","port":5432}}`), `{"db":{"password":"${REDACTED}","port":5432}}`);
  t.is(redactText(`postgres://ada:${secret}@10.0.0.7:5432/shop`), `postgres://${REDACTED}@10.0.0.7:5432/shop`);
  t.is(redactText(`{"X-Api-Key":["${secret}"],"port":1}`), `{"X-Api-Key":["${REDACTED}"],"port":1}`);
  t.is(redactText(`{\\"token\\":[\\"${secret}\\"]}`), `{\\"token\\":[\\"${REDACTED}\\"]}`);
  t.is(redactText(`{"secret":{"a":"${secret}"},"port":1}`), `{"secret":"${REDACTED}","port":1}`);
  t.is(redactText(`password=${secret}, user=ada, port=1`), `password=${REDACTED}, user=ada, port=1`);
  t.is(redactText(`password=${secret},user=ada`), `password=${REDACTED},user=ada`);
  t.is(redactText(`GET /?access_token=${secret}&page=2`), `GET /?access_token=${REDACTED}&page=2`);
});

test('what is no secret stays', (t) => {
  for (const line of [
    'inbound TCP: 8080; never: 15310 15320 15400; probe aliases: 15400:8080',
    '10.244.0.7:39822 → 10.96.0.1:443 was reset',
    '{"level":30,"time":1795290517464,"name":"kpeering","session":"8900ffa1","laptop":"root@vm","msg":"a laptop has connected"}',
    'the authority of the webhook is trusted by its author',
    'kubectl -n shop logs web-1 -c kpeering-init',
    'http://web.shop.svc:8080/status?page=2',
    'kpeering_flows_ended_total{to="laptop"} 3',
    `caBundle: ${Buffer.from('-----BEGIN CERTIFICATE-----\\nMIIB').toString('base64')}`,
    'http://web:8080/mails/ada@example.com',
  ]) {
    t.is(redactText(line), line);
  }
});

test('a long line takes no longer than its length', (t) => {
  for (const line of [
    'a'.repeat(1_000_000),
    'password'.repeat(120_000),
    `${'ab+/'.repeat(250_000)}==`,
    '-----BEGIN PRIVATE KEY-----'.repeat(20_000),
    '"'.repeat(500_000),
    '-eyJ'.repeat(125_000),
    'x-amz-'.repeat(80_000),
    'a://a:'.repeat(80_000),
  ]) {
    // Of this thread's own time: others use the machine, too. Quadratic ones would take minutes.
    const before = process.threadCpuUsage();
    redactText(line);
    const { user } = process.threadCpuUsage(before);
    t.true(user < 3_000_000, `${line.slice(0, 30)}…: ${user} µs`);
  }
});

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'web-1',
    managedFields: [{ manager: secret }],
    labels: { app: 'web' },
    annotations: {
      'kubectl.kubernetes.io/last-applied-configuration': `{"env":[{"name":"X","value":"${secret}"}]}`,
      'vault.example/inline': secret,
      'kpeering.io/mode': 'tproxy',
    },
  },
  spec: {
    containers: [
      {
        name: 'app',
        image: `registry.example/app:1`,
        command: ['app', `--license`, secret],
        args: [secret],
        env: [
          { name: 'HARMLESS_LOOKING', value: secret },
          { name: 'FROM', valueFrom: { secretKeyRef: { name: 'db', key: 'password' } } },
        ],
        livenessProbe: { httpGet: { path: '/', port: 80, httpHeaders: [{ name: 'X-Probe', value: secret }] } },
        lifecycle: { preStop: { exec: { command: ['sh', '-c', secret] } } },
      },
      {
        name: 'kpeering',
        image: 'kpeering/kpeering:1',
        args: ['sidecar'],
        env: [
          { name: 'KPEERING_LOG', value: 'info' },
          { name: 'HTTPS_PROXY', value: `http://ada:${secret}@proxy` },
        ],
      },
    ],
    volumes: [
      { name: 'a', csi: { driver: 'x', volumeAttributes: { share: secret } } },
      { name: 'b', secret: { secretName: 'db-credentials' } },
    ],
  },
  status: {
    podIP: '10.244.0.7',
    containerStatuses: [{ name: 'app', state: { waiting: { message: `pull https://u:${secret}@reg/x failed` } } }],
  },
};

test('an object keeps what a bug report needs, and no value that may be a secret', (t) => {
  const redacted = redactObject(pod);
  const text = JSON.stringify(redacted);
  t.false(text.includes(secret), text);
  t.like(redacted, {
    metadata: { name: 'web-1', labels: { app: 'web' }, annotations: { 'kpeering.io/mode': 'tproxy', 'vault.example/inline': REDACTED } },
    status: { podIP: '10.244.0.7' },
  });
  t.true(text.includes('"name":"HARMLESS_LOOKING"'), 'the names of variables stay');
  t.true(text.includes('{"secretKeyRef":{"name":"db","key":"password"}}'), 'where a value comes from stays');
  t.true(text.includes('"secretName":"db-credentials"'));
  t.true(text.includes('{"name":"KPEERING_LOG","value":"info"}'), 'our own variables stay');
  t.true(text.includes('"args":["sidecar"]'), 'our own arguments stay');
  t.false(text.includes('managedFields'));
});

test('of a Secret nothing but its name comes out', (t) => {
  const object = {
    kind: 'Secret',
    metadata: { name: 'db', annotations: { a: secret } },
    data: { password: secret },
    stringData: { a: secret },
  };
  t.deepEqual(redactObject(object), { kind: 'Secret', metadata: { name: 'db' } });
  t.deepEqual(redactObject([object]), [{ kind: 'Secret', metadata: { name: 'db' } }]);
  t.deepEqual(redactObject({ kind: 'ConfigMap', data: { a: secret } }), { kind: 'ConfigMap', data: { a: REDACTED } });
  t.deepEqual(redactObject([{ spec: { token: secret, tokenExpirationSeconds: 5 } }]), [
    { spec: { token: REDACTED, tokenExpirationSeconds: 5 } },
  ]);
});
