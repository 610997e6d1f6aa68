import { addFamily, type ModelConfig } from '../../../lib/models/families';
import { captionedImagesFamily, type CaptionedImagesOptions } from './captioned_images';

/** A model of a family that reads no token ids. `ModelConfig` has only the types of shipped families, hence the cast. */
export function toy(settings: CaptionedImagesOptions = {}): ModelConfig {
  addFamily('captioned_images', captionedImagesFamily);
  return { type: 'captioned_images', ...settings } as unknown as ModelConfig;
}
