"""Extensions of files with sound, in lower case with their dot: the one list for all that search a folder for them."""

# Extensions of the formats that FFmpeg reads, those of videos included, whose sound is read. Left out are raw samples
# whose rate nobody knows (.pcm, .sln, .ul), synthesised music (.mid, .mod) and playlists, which name other files.
SOUND = frozenset(
  f'.{name}'
  for name in (
    '3g2 3gp 3gpp 722 8svx aa aa3 aac aax ac3 ac4 adts afc aif aifc aiff amr ape aptx asf au avi avr awb c2 '
    'caf dff dsf dss dts dtshd dv eac3 ec3 f4a f4b f4v flac flv g722 g723_1 g729 gsm gxf iamf ircam isma ismv '
    'latm lc3 loas m2a m2t m2ts m4a m4b m4r m4v mjp2 mka mkv mlp mmf mov mp1 mp2 mp3 mp4 mpa mpc mpeg mpg mpga '
    'msbc mts mxf nist nut oga ogg ogv ogx oma opus paf pvf qcp qoa qt ra rf64 rka rm rmvb rso sbc sds sf shn '
    'snd sox spdif sph spx swf tak thd ts tta voc vob vqf w64 wav wave weba webm wma wmv wsd wtv wv rco tco '
  ).split()
)

# Raw samples: their rate is known only by a format of their own, such as AN4's.
RAW = frozenset(('.pcm', '.raw', '.sln', '.vox'))
ALL = SOUND | RAW
