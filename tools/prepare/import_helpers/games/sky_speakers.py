def Speakers(folder, read):
  return {}
