/** The schemas for which scripts/declare_settings.mjs writes types. */
import { z } from 'zod';
import * as run from '../../lib/cli/run_configuration';
import * as gpt2 from '../../lib/models/gpt2_config';
import { settingText } from '../../lib/models/setting_text';
import { settings } from '../../lib/models/settings';
import * as sampling from '../../lib/sampling/options';
import * as training from '../../lib/training/arguments';
import * as stopping from '../../lib/training/early_stopping';
import * as scaling from '../../lib/training/loss_scaling';
import * as optimizer from '../../lib/training/optimizer_settings';
import * as groups from '../../lib/training/parameter_groups';
import * as schedule from '../../lib/training/schedule_settings';

const objects = [run, gpt2, sampling, training, stopping, scaling, optimizer, groups, schedule]
  .flatMap((module) => Object.values(module) as unknown[])
  .filter((value) => value instanceof z.ZodObject)
  .map((schema) => [settings.get(schema)?.name ?? '', schema] as const);

/** These share the synonyms of another object, and lack some of its settings. */
const SHARED = new Set(['RunSampling']);

it('has the settings of every interface', () => expect(objects.length).toBeGreaterThan(10));

describe.each(objects)('%s', (name, schema) => {
  it('has a name and a description, and so has each setting', () => {
    expect(name).toMatch(/^[A-Z]/);
    for (const setting of [schema, ...Object.values<z.ZodType>(schema.shape)])
      expect(settingText(setting)).toMatch(/^\S.*\.$/s);
  });

  it('has synonyms that no setting has as its name, of settings that there are', () => {
    const known = Object.keys(schema.shape);
    for (const [synonym, meant] of Object.entries(settings.get(schema)?.synonyms ?? {})) {
      expect(known).not.toContain(synonym);
      if (!SHARED.has(name)) expect(known).toContain(meant);
    }
  });
});
